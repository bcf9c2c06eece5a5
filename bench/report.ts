import { cpus, release } from "node:os";

/** A section of the bench: figures for `--json`, and the same as lines for people. */
export interface Report {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

/** A line about the machine: figures mean nothing without it. */
export function machineLine(): string {
  const [first] = cpus();
  return `${cpus().length} × ${first?.model.trim() ?? "?"}, Linux ${release()}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`;
}

export interface Percentiles {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Nearest-rank percentiles. */
export function percentiles(valuesMs: readonly number[]): Percentiles {
  const sorted = valuesMs.toSorted((a, b) => a - b);
  const at = (share: number) => round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN);
  return { p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: at(1) };
}

/** Rounds a figure for reports. */
export function round(value: number, digits = 2): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

/** `p50 … p90 … p99 … max … ms` */
export function formatPercentiles({ p50Ms, p90Ms, p99Ms, maxMs }: Percentiles): string {
  return `p50 ${p50Ms} ms   p90 ${p90Ms} ms   p99 ${p99Ms} ms   max ${maxMs} ms`;
}
