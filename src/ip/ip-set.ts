import { compareIp, type Family, type Ip, ipFromValue, ipValue } from "./ip.ts";
import { formatRange, type IpRange, parseRange } from "./range.ts";

/** Both ends included. */
interface Interval {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * An immutable set of addresses of one family, kept as ascending intervals that neither overlap nor touch (so equal sets have
 * equal intervals). Every method gives a new set or an answer; combining two sets of different families is a TypeError.
 * Cost: set algebra O(intervals from the later beginning on), questions about one address O(log intervals).
 */
export class IpSet {
  readonly family: Family;
  readonly #intervals: readonly Interval[];
  /** How many members lie before each interval, and at the end the size. Computed when the first place is asked for. */
  #before: readonly bigint[] | undefined;

  private constructor(family: Family, intervals: readonly Interval[]) {
    this.family = family;
    this.#intervals = intervals;
  }

  static empty(family: Family): IpSet {
    return new IpSet(family, []);
  }

  /** The union of ranges, which may overlap and come in any order. */
  static of(family: Family, ranges: Iterable<IpRange>): IpSet {
    const intervals: Interval[] = [];
    for (const { first, last } of ranges) {
      if (first.family !== family || last.family !== family) throw otherFamily(family, first.family);
      if (compareIp(first, last) > 0)
        throw new RangeError("Cannot make an IpSet as 'first' of a range is above 'last'");
      intervals.push({ first: ipValue(first), last: ipValue(last) });
    }
    return new IpSet(family, coalesce(intervals));
  }

  /** The set of single addresses, which may repeat and come in any order. */
  static ofIps(family: Family, ips: Iterable<Ip>): IpSet {
    return IpSet.of(
      family,
      Array.from(ips, (ip) => ({ first: ip, last: ip })),
    );
  }

  get isEmpty(): boolean {
    return this.#intervals.length === 0;
  }

  /** How many addresses it holds; `clampCount` makes it fit a status field. */
  get size(): bigint {
    const known = this.#before?.at(-1);
    if (known !== undefined) return known;
    // Most sets are asked only this, and only once.
    let sum = 0n;
    for (const { first, last } of this.#intervals) sum += last - first + 1n;
    return sum;
  }

  /** How many intervals it has. Its memory and the cost of its operations are proportional to this. */
  get intervalCount(): number {
    return this.#intervals.length;
  }

  /** The intervals in ascending order. */
  get ranges(): readonly IpRange[] {
    return this.#intervals.map(({ first, last }) => ({ first: this.#ip(first), last: this.#ip(last) }));
  }

  /** The lowest member, undefined for the empty set. */
  get first(): Ip | undefined {
    const interval = this.#intervals[0];
    return interval && this.#ip(interval.first);
  }

  /** The highest member, undefined for the empty set. */
  get last(): Ip | undefined {
    const interval = this.#intervals.at(-1);
    return interval && this.#ip(interval.last);
  }

  /** False for an address of the other family. */
  contains(ip: Ip): boolean {
    if (ip.family !== this.family) return false;
    const value = ipValue(ip);
    const interval = this.#intervals[this.#indexAtOrAfter(value)];
    return interval !== undefined && interval.first <= value;
  }

  /** The lowest member that is not below `ip`. */
  atOrAfter(ip: Ip): Ip | undefined {
    this.#assertFamily(ip.family);
    const value = ipValue(ip);
    const interval = this.#intervals[this.#indexAtOrAfter(value)];
    return interval && this.#ip(higher(interval.first, value));
  }

  /** The interval that holds `ip`. */
  rangeOf(ip: Ip): IpRange | undefined {
    if (ip.family !== this.family) return undefined;
    const value = ipValue(ip);
    const interval = this.#intervals[this.#indexAtOrAfter(value)];
    if (interval === undefined || interval.first > value) return undefined;
    return { first: this.#ip(interval.first), last: this.#ip(interval.last) };
  }

  /** The member with `index` members below it; undefined outside 0 … size − 1. */
  nth(index: bigint): Ip | undefined {
    if (index < 0n || index >= this.size) return undefined;
    const sums = this.#sums();
    const at = lowestWhere(this.#intervals.length, (i) => (sums[i + 1] ?? 0n) > index);
    const interval = this.#intervals[at];
    return interval && this.#ip(interval.first + index - (sums[at] ?? 0n));
  }

  /** How many members lie below `ip`, which need not be a member. */
  rank(ip: Ip): bigint {
    this.#assertFamily(ip.family);
    const value = ipValue(ip);
    const at = this.#indexAtOrAfter(value);
    const interval = this.#intervals[at];
    const inside = interval !== undefined && interval.first < value ? value - interval.first : 0n;
    return (this.#sums()[at] ?? 0n) + inside;
  }

  /** The set with `ip`; the same object if `ip` is a member already. */
  add(ip: Ip): IpSet {
    this.#assertFamily(ip.family);
    const value = ipValue(ip);
    // Merges all intervals that contain the address or touch it into one.
    const from = this.#indexAtOrAfter(value === 0n ? 0n : value - 1n);
    const to = lowestWhere(this.#intervals.length, (i) => (this.#intervals[i]?.first ?? 0n) > value + 1n);
    const [low, high] = [this.#intervals[from], this.#intervals[to - 1]];
    if (from === to || low === undefined || high === undefined) {
      return new IpSet(this.family, this.#intervals.toSpliced(from, 0, { first: value, last: value }));
    }
    if (low.first <= value && value <= low.last) return this;
    const joined = { first: lower(low.first, value), last: higher(high.last, value) };
    return new IpSet(this.family, this.#intervals.toSpliced(from, to - from, joined));
  }

  /** The set without `ip`; the same object if `ip` is not a member. */
  remove(ip: Ip): IpSet {
    if (!this.contains(ip)) return this;
    const value = ipValue(ip);
    const at = this.#indexAtOrAfter(value);
    const interval = this.#intervals[at];
    if (interval === undefined) return this;
    const rest: Interval[] = [];
    if (interval.first < value) rest.push({ first: interval.first, last: value - 1n });
    if (interval.last > value) rest.push({ first: value + 1n, last: interval.last });
    return new IpSet(this.family, this.#intervals.toSpliced(at, 1, ...rest));
  }

  union(other: IpSet): IpSet {
    this.#assertFamily(other.family);
    if (other.isEmpty) return this;
    if (this.isEmpty) return other;
    return new IpSet(this.family, coalesce([...this.#intervals, ...other.#intervals]));
  }

  subtract(other: IpSet): IpSet {
    this.#assertFamily(other.family);
    if (other.isEmpty) return this;
    const left: Interval[] = [];
    let at = other.#indexAtOrAfter(this.#intervals[0]?.first ?? 0n);
    for (const { first, last } of this.#intervals) {
      while ((other.#intervals[at]?.last ?? last) < first) at++;
      let from = first;
      for (let cut = other.#intervals[at]; cut !== undefined && cut.first <= last; cut = other.#intervals[++at]) {
        if (cut.first > from) left.push({ first: from, last: cut.first - 1n });
        from = cut.last + 1n;
        if (cut.last >= last) break;
      }
      if (from <= last) left.push({ first: from, last });
    }
    return new IpSet(this.family, left);
  }

  intersect(other: IpSet): IpSet {
    this.#assertFamily(other.family);
    const both: Interval[] = [];
    let i = this.#indexAtOrAfter(other.#intervals[0]?.first ?? 0n);
    let j = other.#indexAtOrAfter(this.#intervals[0]?.first ?? 0n);
    for (;;) {
      const [a, b] = [this.#intervals[i], other.#intervals[j]];
      if (a === undefined || b === undefined) return new IpSet(this.family, both);
      const first = higher(a.first, b.first);
      const last = lower(a.last, b.last);
      if (first <= last) both.push({ first, last });
      if (a.last < b.last) i++;
      else j++;
    }
  }

  /** True if some address is a member of both. */
  overlaps(other: IpSet): boolean {
    return !this.intersect(other).isEmpty;
  }

  equals(other: IpSet): boolean {
    if (this.family !== other.family || this.intervalCount !== other.intervalCount) return false;
    return this.#intervals.every(({ first, last }, at) => {
      const theirs = other.#intervals[at];
      return theirs?.first === first && theirs.last === last;
    });
  }

  /** The result of `formatIpSet`, for logs and JSON. */
  toJSON(): readonly string[] {
    return formatIpSet(this);
  }

  /** The index of the first interval that ends at or after `value`. */
  #indexAtOrAfter(value: bigint): number {
    return lowestWhere(this.#intervals.length, (i) => (this.#intervals[i]?.last ?? value) >= value);
  }

  #sums(): readonly bigint[] {
    if (this.#before === undefined) {
      let sum = 0n;
      this.#before = [0n, ...this.#intervals.map(({ first, last }) => (sum += last - first + 1n))];
    }
    return this.#before;
  }

  #ip(value: bigint): Ip {
    return ipFromValue(this.family, value);
  }

  #assertFamily(found: Family): void {
    if (found !== this.family) throw otherFamily(this.family, found);
  }
}

/** The union of elements as in a pool's `ips` (see `parseRange`). Throws IpParseError at the first invalid one. */
export function parseIpSet(texts: readonly string[], family: Family): IpSet {
  return IpSet.of(
    family,
    texts.map((text) => parseRange(text, family)),
  );
}

/** The normal form of a list of ranges: ascending maximal ranges, `A` or `A-B`, canonical text. */
export function formatIpSet(set: IpSet): readonly string[] {
  return set.ranges.map(formatRange);
}

function coalesce(intervals: readonly Interval[]): readonly Interval[] {
  const sorted = intervals.toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const merged: Interval[] = [];
  for (const next of sorted) {
    const previous = merged.at(-1);
    if (previous === undefined || next.first > previous.last + 1n) merged.push(next);
    else if (next.last > previous.last) merged[merged.length - 1] = { first: previous.first, last: next.last };
  }
  return merged;
}

/** Binary search: the lowest index below `count` from which on `holds` is true; `count` if there is none. */
function lowestWhere(count: number, holds: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Math.min and Math.max take no bigint.
function lower(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

function higher(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

function otherFamily(want: Family, found: Family): TypeError {
  return new TypeError(`Cannot combine an IpSet of IPv${want} with IPv${found}`);
}
