import type { SoakReport } from "./soak.ts";

interface JudgeOptions {
  /** Agents were killed and nodes cut off. */
  readonly faults: boolean;
}

/**
 * What the runtime may be told, and try again after, because the API server was out of reach. Of agents that are killed it hears
 * nothing, because shims make the calls again.
 */
const causedByFaults =
  /the Kubernetes API server cannot be reached|: an earlier create of address … may still take effect: try again/;

/** Everything in which a run was not as it must be, one a line. */
export function judge(report: SoakReport, { faults }: JudgeOptions): readonly string[] {
  const { churns, kills, left, rssMb } = report;
  const wrong = left.map((what) => `left: ${what}`);
  for (const { pods, violations, failures } of churns) {
    wrong.push(...violations);
    if (pods === 0) wrong.push("no Pod came");
    for (const [words, { times, soonestMs }] of Object.entries(failures)) {
      if (faults && causedByFaults.test(words)) continue;
      wrong.push(`${times} × failed after ${soonestMs.toFixed(0)} ms or more: ${words}`);
    }
  }
  if (faults) {
    if (kills === 0) wrong.push("no agent was killed");
    return wrong; // A killed agent's memory begins anew.
  }
  for (const [node, minutes] of rssMb) {
    if (!isFlat(minutes)) wrong.push(`memory of ${node}'s agent is not flat: a minute is over 10 MB from the median`);
  }
  return wrong;
}

/** What an agent's memory may differ from its median once its caches have filled, in MB. */
const rssDifferenceMaxMb = 10;
/** Until then it grows, in minutes. */
const settlingMinutes = 2;

/** Whether memory was flat, by the median of each minute; true where too few minutes were seen to tell. */
function isFlat(minutes: readonly number[]): boolean {
  const settled = minutes.slice(settlingMinutes);
  const middle = median(settled);
  return settled.every((mb) => Math.abs(mb - middle) <= rssDifferenceMaxMb);
}

/** Of an odd number the one in the middle, of an even one the upper of the two; not a number where there are none. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
