import assert from "node:assert/strict";
import { abortable, never, type Signal } from "#base";
import { type ApiRequest, leases, type Transport } from "#kube";
import { until } from "../../../base/testing/until.ts";
import { TestCluster } from "../cluster.ts";
import type { Scenario } from "./scenario.ts";

/** The Lease that the leader holds. */
export const leaseName = { namespace: "kube-system", name: "spiderpool-controller-leases" };
/** Enough for another replica to take a Lease that nobody renews, which it does after 15 s. */
const takenMs = 20_000;
/** How often in a scenario the other parties act. */
const looks = 10;

/** The write at which a leader dies, counted from the beginning of its work, and whether the server still gets it. */
interface Death {
  readonly at: number;
  readonly when: "before" | "after";
}

/** How a scenario went. */
interface Run {
  /** The first leader's writes, such as `PATCH spidersubnets`. */
  readonly writes: readonly string[];
  /** {@link Scenario.result} before the work, and after it. */
  readonly before: unknown;
  readonly result: unknown;
}

/**
 * Has a leader do the work of a scenario, and another one complete it if the first dies. Fails if the first does not come to
 * the write at which it is to die, or if no other becomes leader.
 */
export async function runScenario(scenario: Scenario, death?: Death): Promise<Run> {
  const { options, conf = "", setUp, trigger, takesMs, isDone, result } = scenario;
  await using cluster = new TestCluster();
  setUp?.(cluster);
  const first = new MortalReplica(cluster, death);
  await cluster.start({ ...options, podName: "a" }, { conf, transport: first.transport });
  await cluster.pass(5_000, { steps: 20 });
  first.isAtWork = true;
  const before = result(cluster);
  trigger(cluster);
  await pass(cluster, scenario, takesMs, () => first.isDead);
  // If not all of it follows the clock, one run may write something twice that another one need not.
  const needsFewerWrites = !first.isDead && isDone?.(cluster) === true;
  if (death !== undefined && !needsFewerWrites) {
    assert.ok(first.isDead, `write ${death.at} was not reached: ${first.writes.join(", ")}`);
    await cluster.start({ ...options, podName: "b" }, { conf });
    await pass(cluster, scenario, takesMs + takenMs, () => false);
    assert.match(cluster.api.read(leases, leaseName)?.spec?.holderIdentity ?? "", /^b_/);
  }
  return { writes: first.writes, before, result: result(cluster) };
}

/** Lets `ms` pass, or less if `isOver`, while the other parties act. Then waits for what does not follow the clock. */
async function pass(cluster: TestCluster, { others, isDone }: Scenario, ms: number, isOver: () => boolean) {
  for (let look = 0; look < looks && !isOver(); look++) {
    others?.(cluster);
    await cluster.pass(ms / looks, { steps: 4 });
  }
  if (isDone === undefined) return;
  const isOverOrDone = () => isOver() || isDone(cluster);
  const look = () => (isOverOrDone() ? true : cluster.pass(100, { steps: 1 }).then(isOverOrDone));
  await until("the work is done", look, Boolean);
}

/** A replica that dies at one of its writes: from then on its requests do not reach the server, and it gets no answers. */
class MortalReplica {
  /** Its writes since it is at work. */
  readonly writes: string[] = [];
  readonly transport: Transport;
  isAtWork = false;
  isDead = false;

  constructor({ api }: TestCluster, death: Death | undefined) {
    const silence = ({ signal }: Signal) => abortable(new Promise<never>(() => {}), signal);
    const send = async (request: ApiRequest, o: Signal) => {
      if (this.isDead) return silence(o);
      const isLast = this.isAtWork && isWrite(request) && this.writes.push(nameOf(request)) - 1 === death?.at;
      if (!isLast) return api.send(request, o);
      this.isDead = true;
      if (death.when === "after") await api.send(request, { signal: never });
      return silence(o);
    };
    this.transport = { server: api.server, send };
  }
}

function isWrite({ method, path }: ApiRequest): boolean {
  return method !== "GET" && !path.includes("/leases/") && !path.includes("/events");
}

function nameOf({ method, path }: ApiRequest): string {
  const [, plural, status = ""] = /\/([a-z-]+)(?:\/[^/?]+(\/status)?)?(?:\?.*)?$/.exec(path) ?? [];
  return `${method} ${plural}${status}`;
}
