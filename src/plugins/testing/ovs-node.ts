import { mkdirSync } from "node:fs";
import { silentLogger, systemClock, Tasks } from "#base";
import { createOvs, type Ovs } from "#ovsdb";
import { type OpenVswitch, startOpenVswitch } from "../../ovsdb/testing/open-vswitch.ts";

/** A node with a real Open vSwitch, bridge br1 (in user space) and our client of it. */
export interface OvsNode extends AsyncDisposable {
  readonly real: OpenVswitch;
  readonly ovs: Ovs & AsyncDisposable;
  /** What goes on after answers; ends first. */
  readonly tasks: Tasks;
}

/** To be called in an isolated test file. */
export function startOvsNode(): OvsNode {
  mkdirSync("/run/netns", { recursive: true });
  const real = startOpenVswitch();
  real.addBridge("br1");
  const ovs = createOvs({ endpoint: real.endpoint, clock: systemClock, log: silentLogger });
  const tasks = new Tasks(silentLogger);
  return {
    real,
    ovs,
    tasks,
    [Symbol.asyncDispose]: async () => {
      await tasks.stop();
      await ovs[Symbol.asyncDispose]();
      await real[Symbol.asyncDispose]();
    },
  };
}
