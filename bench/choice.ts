import { formatIpSet, type Ip, IpSet, ipFromValue, ipValue, parseIpSet, parsePrefix } from "#ip";
import { Chooser } from "#ipam";
import { percentiles, round } from "./report.ts";
import type { Report } from "./sections.ts";

const pools = ["10.0.0.0/24", "10.0.0.0/16", "10.0.0.0/10", "fd00::/64"];
const fills = [0, 50, 99, 100];
const choices = 5_000;
/** What one node has of a pool at most; the oldest is given back for the next. */
const ownMax = 250;
/** As many as are published of a pool's usage. */
const rangesMax = 8_192n;

/** How long the choice of one address takes, by the size of the pool and by how much of it is used. */
export async function choice(): Promise<Report> {
  const rows = pools.flatMap((pool) => fills.map((fill) => ({ pool, fill, ...measure(pool, fill) })));
  return {
    figures: { rows, p50MaxUs: Math.max(...rows.map(({ p50Us }) => p50Us)) },
    lines: rows.map(
      ({ pool, fill, p50Us, p99Us }) =>
        `${pool.padEnd(12)} ${String(fill).padStart(3)} % used: p50 ${p50Us} µs   p99 ${p99Us} µs`,
    ),
  };
}

function measure(pool: string, fill: number): { readonly p50Us: number; readonly p99Us: number } {
  const all = wholeOf(pool);
  const chooser = new Chooser({ set: all, reserved: IpSet.empty(all.family) });
  chooser.setUsage({ used: scattered(all, fill), cooling: IpSet.empty(all.family), share: { rank: 3, ranks: 10 } });
  const own: Ip[] = [];
  const tookMs: number[] = [];
  for (let at = 0; at < choices; at++) {
    const startMs = performance.now();
    const next = chooser.next(startMs);
    tookMs.push(performance.now() - startMs);
    if (next.kind === "address") own.push(next.ip);
    const oldest = own.length >= ownMax || next.kind === "exhausted" ? own.shift() : undefined;
    if (oldest !== undefined) chooser.release(oldest);
  }
  const { p50Ms, p99Ms } = percentiles(tookMs.map((ms) => ms * 1_000));
  return { p50Us: round(p50Ms), p99Us: round(p99Ms) };
}

function wholeOf(text: string): IpSet {
  const { ip, bits } = parsePrefix(text);
  const size = 1n << BigInt((ip.family === 4 ? 32 : 128) - bits);
  return IpSet.of(ip.family, [{ first: ip, last: ipFromValue(ip.family, ipValue(ip) + size - 1n) }]);
}

/** `fill` per cent of the set, in as many equal pieces as usage can tell of. */
function scattered(all: IpSet, fill: number): IpSet {
  const { first, family, size } = all;
  if (first === undefined || fill === 0) return IpSet.empty(family);
  if (fill === 100) return all;
  const pieces = size / 100n < rangesMax ? size / 100n : rangesMax;
  const each = size / pieces;
  const ranges = Array.from({ length: Number(pieces) }, (_, at) => {
    const from = ipValue(first) + BigInt(at) * each;
    return { first: ipFromValue(family, from), last: ipFromValue(family, from + (each * BigInt(fill)) / 100n - 1n) };
  });
  // As it comes from the API: text.
  return parseIpSet(formatIpSet(IpSet.of(family, ranges)), family);
}
