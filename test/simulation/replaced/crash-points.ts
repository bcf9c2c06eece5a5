/** The agent's fail points: where the machine has a trap, the process is killed there. */
export * from "../../../src/agent/calls/crash-points.ts";

import { current } from "../runtime/process.ts";

export function crashPoints(): (verb: string, point: string) => void {
  const process = current();
  return (verb, point) => {
    const { machine } = process;
    if (process.isDead || machine.trap === undefined || machine.trap.point !== `${verb} ${point}`) return;
    const { sprung } = machine.trap;
    machine.trap = undefined;
    sprung();
  };
}
