import { type Percentiles, percentiles, round } from "../report.ts";
import type { FloorCalls, FloorOutcome, FloorTurns } from "../tasks.ts";

/** The product and the floor, measured in the same minute, because the machine's speed changes within a quarter of an hour. */
export interface Compared {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

/** Calls in turn: the better order of row and links is the floor. */
export function compareTurns(what: string, product: Percentiles, { turns }: FloorOutcome): Compared {
  const orders = turns.map((one) => ({ order: one.order, ...partsOf(one) }));
  const best = orders.toSorted((a, b) => a.add.p50Ms - b.add.p50Ms)[0];
  const floorMs = best?.add.p50Ms ?? Number.NaN;
  const ratio = round(product.p50Ms / floorMs);
  const others = orders.filter((one) => one !== best).map(({ order, add }) => `; ${order} ${add.p50Ms}`);
  const parts = Object.entries(best?.partsMs ?? {}).map(([part, ms]) => `${part} ${ms}`);
  return {
    figures: { ratio, orders },
    lines: [
      `${what} p50: product ${product.p50Ms} / floor ${floorMs} ms = ${ratio}`,
      `  floor: ${best?.order} ${floorMs} ms, p99 ${best?.add.p99Ms}${others.join("")}; DEL p50 ${best?.del.p50Ms} ms; of the ADD, p50: ${parts.join(", ")} ms (all but the process counted from its end)`,
    ],
  };
}

function partsOf({ adds, dels, parts }: FloorTurns) {
  const median = (part: string) => percentiles(parts.map((one) => one[part] ?? Number.NaN)).p50Ms;
  const partsMs = Object.fromEntries(Object.keys(parts[0] ?? {}).map((part) => [part, median(part)]));
  return { add: percentiles(adds), del: percentiles(dels), partsMs };
}

/** A burst, as it comes or all in one round, whichever is faster. */
export function compareBurst(
  what: "ADDs" | "DELs",
  count: number,
  productMs: number,
  variants: readonly { readonly together: boolean; readonly calls: FloorCalls; readonly apiServerMs: number }[],
): Compared {
  const rows = variants.map(({ together, calls, apiServerMs }) => {
    const { totalMs, switchMs, processesMs, loopMs } = calls;
    const cpuMs = switchMs + processesMs + loopMs + apiServerMs;
    const per = (ms: number) => round(ms / count);
    return {
      together,
      totalMs: round(totalMs),
      cpuMsPerCall: {
        switch: per(switchMs),
        processes: per(processesMs),
        apiServer: per(apiServerMs),
        loop: per(loopMs),
        all: per(cpuMs),
      },
    };
  });
  const floorMs = Math.min(...rows.map(({ totalMs }) => totalMs));
  const ratio = round(productMs / floorMs);
  return {
    figures: { ratio, floor: rows },
    lines: [
      `${count} ${what}: product ${round(productMs)} / floor ${floorMs} ms = ${ratio}`,
      ...rows.map(({ together, totalMs, cpuMsPerCall: cpu }) => {
        const how = together ? "all in one round" : "as they come";
        return `  floor ${how}: ${totalMs} ms; CPU per call ${cpu.all} ms: Open vSwitch ${cpu.switch}, processes ${cpu.processes}, API server ${cpu.apiServer}, loop and kernel ${cpu.loop}`;
      }),
    ],
  };
}
