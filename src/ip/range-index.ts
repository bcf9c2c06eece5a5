import { compareIp, type Ip } from "./ip.ts";
import type { IpRange } from "./range.ts";

/** One range in a {@link RangeIndex}, and a node of its tree. */
interface Entry<T> extends IpRange {
  readonly item: T;
  readonly order: number;
  /** No parent's is lower than those of its children. */
  readonly priority: number;
  before: Entry<T> | undefined;
  after: Entry<T> | undefined;
  /** The highest `last` of this entry and all below it. */
  highest: Ip;
}

/** What {@link RangeIndex.add} gives, for {@link RangeIndex.delete}. */
export type RangeEntry<T> = Readonly<Pick<Entry<T>, "first" | "last" | "item">>;

/**
 * Items by ranges of addresses, which may overlap and be of both families. Adding and deleting one costs O(log n), finding those
 * that have an address of a range O(log n) for each that is found: nothing goes through all. (A treap: a search tree by the
 * ranges' first addresses, which is balanced because it is a heap by numbers without order.)
 */
export class RangeIndex<T> {
  #root: Entry<T> | undefined;
  #added = 0;

  add({ first, last }: IpRange, item: T): RangeEntry<T> {
    const order = this.#added++;
    const made = { first, last, item, order, priority: scattered(order), before: undefined, after: undefined };
    const entry: Entry<T> = { ...made, highest: last };
    const [before, after] = split(this.#root, entry);
    this.#root = join(join(before, entry), after);
    return entry;
  }

  /** Takes out what {@link add} gave. */
  delete(entry: RangeEntry<T>): void {
    this.#root = without(this.#root, entry as Entry<T>);
  }

  /** The items of all ranges that have an address in common with this one, by ascending first address; one may come repeatedly. */
  overlapping({ first, last }: IpRange): readonly T[] {
    const found: T[] = [];
    const visit = (entry: Entry<T> | undefined): void => {
      if (entry === undefined || compareIp(entry.highest, first) < 0) return;
      visit(entry.before);
      if (compareIp(entry.first, last) > 0) return;
      if (compareIp(entry.last, first) >= 0) found.push(entry.item);
      visit(entry.after);
    };
    visit(this.#root);
    return found;
  }
}

function isBefore<T>(a: Entry<T>, b: Entry<T>): boolean {
  const difference = compareIp(a.first, b.first);
  return difference === 0 ? a.order < b.order : difference < 0;
}

/** The entries before `at`, and the others. */
function split<T>(root: Entry<T> | undefined, at: Entry<T>): [Entry<T> | undefined, Entry<T> | undefined] {
  if (root === undefined) return [undefined, undefined];
  if (isBefore(root, at)) {
    const [before, after] = split(root.after, at);
    root.after = before;
    return [summed(root), after];
  }
  const [before, after] = split(root.before, at);
  root.before = after;
  return [before, summed(root)];
}

/** One tree of two, of which the first has the lower ranges. */
function join<T>(low: Entry<T> | undefined, high: Entry<T> | undefined): Entry<T> | undefined {
  if (low === undefined || high === undefined) return low ?? high;
  if (low.priority >= high.priority) {
    low.after = join(low.after, high);
    return summed(low);
  }
  high.before = join(low, high.before);
  return summed(high);
}

function without<T>(root: Entry<T> | undefined, entry: Entry<T>): Entry<T> | undefined {
  if (root === undefined) throw new RangeError("Cannot delete 'entry' as it is not in the index");
  if (root === entry) return join(root.before, root.after);
  if (isBefore(entry, root)) root.before = without(root.before, entry);
  else root.after = without(root.after, entry);
  return summed(root);
}

function summed<T>(entry: Entry<T>): Entry<T> {
  entry.highest = entry.last;
  for (const child of [entry.before, entry.after]) {
    if (child !== undefined && compareIp(child.highest, entry.highest) > 0) entry.highest = child.highest;
  }
  return entry;
}

/** A number that seems random, by the last step of MurmurHash3: one tree is like another in every run. */
function scattered(order: number): number {
  let bits = Math.imul(order ^ (order >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
