import { isDeepStrictEqual } from "node:util";
import {
  formatPrefix,
  type IpSet,
  networkOf,
  type Prefix,
  prefixRange,
  type RangeEntry,
  RangeIndex,
  tryParsePrefix,
} from "#ip";
import type { SpiderSubnetSpec } from "../subnet/types.ts";
import { effectiveSet } from "./addresses.ts";

/** What pools and subnets have in common. */
interface Addressed {
  readonly metadata: { readonly name: string };
  readonly spec: Pick<SpiderSubnetSpec, "subnet" | "ips" | "excludeIPs">;
}

/** The pools or subnets that an object is compared with, found by what they have in common with it. */
export interface Neighbours<T> {
  get(name: string): T | undefined;
  /** Those whose `spec.subnet` is this network, whatever its host bits. */
  within(network: Prefix): readonly T[];
  /** Those whose `spec.subnet` is another network that contains this one or is a part of it. */
  around(network: Prefix): readonly T[];
  /** Those that have an address (`ips − excludeIPs`) of the set. What has an invalid element has none. */
  sharing(set: IpSet): readonly T[];
}

/** The same without those that `keep` refuses. */
export function filtered<T>(neighbours: Neighbours<T>, keep: (object: T) => boolean): Neighbours<T> {
  return {
    get: (name) => {
      const found = neighbours.get(name);
      return found !== undefined && keep(found) ? found : undefined;
    },
    within: (network) => neighbours.within(network).filter(keep),
    around: (network) => neighbours.around(network).filter(keep),
    sharing: (set) => neighbours.sharing(set).filter(keep),
  };
}

/** An object as the index keeps it. */
interface Indexed<T> {
  object: T;
  /** Results come in the order of this, the order in which the names were first put. */
  readonly order: number;
  /** The key of its network; undefined if its CIDR cannot be read. */
  readonly network: string | undefined;
  readonly ranges: RangeEntry<Indexed<T>>[];
}

interface Network<T> {
  readonly range: RangeEntry<string>;
  readonly members: Set<Indexed<T>>;
}

/**
 * Pools or subnets by name, by network and by address. Comparing an object with its neighbours costs O(log n) for each of those,
 * however many others there are: thousands of pools are admitted one after the other without comparing each with each.
 */
export class AddressIndex<T extends Addressed> implements Neighbours<T> {
  readonly #byName = new Map<string, Indexed<T>>();
  readonly #networks = new Map<string, Network<T>>();
  readonly #networkRanges = new RangeIndex<string>();
  readonly #addresses = new RangeIndex<Indexed<T>>();
  #made = 0;

  static of<T extends Addressed>(objects: Iterable<T>): AddressIndex<T> {
    const index = new AddressIndex<T>();
    for (const object of objects) index.put(object);
    return index;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** Adds the object, in place of the one of its name. */
  put(object: T): void {
    const { metadata, spec } = object;
    const known = this.#byName.get(metadata.name);
    // Most changes of a stored object are the controller's writes of its status.
    if (known !== undefined && isDeepStrictEqual(known.object.spec, spec)) {
      known.object = object;
      return;
    }
    const order = this.#unlink(metadata.name)?.order ?? this.#made++;
    const network = tryParsePrefix(spec.subnet);
    const indexed: Indexed<T> = { object, order, network: network && keyOf(network), ranges: [] };
    if (network !== undefined) this.#membersOf(network).add(indexed);
    const set = network && effectiveSet(spec, network.ip.family);
    for (const range of set?.ranges ?? []) indexed.ranges.push(this.#addresses.add(range, indexed));
    this.#byName.set(metadata.name, indexed);
  }

  /** Takes out the object of this name, and returns it. */
  delete(name: string): T | undefined {
    const removed = this.#unlink(name);
    this.#byName.delete(name);
    return removed?.object;
  }

  get(name: string): T | undefined {
    return this.#byName.get(name)?.object;
  }

  within(network: Prefix): readonly T[] {
    return inOrder(this.#networks.get(keyOf(network))?.members ?? []);
  }

  around(network: Prefix): readonly T[] {
    const keys = this.#networkRanges.overlapping(prefixRange(network)).filter((key) => key !== keyOf(network));
    return inOrder(keys.flatMap((key) => [...(this.#networks.get(key)?.members ?? [])]));
  }

  sharing(set: IpSet): readonly T[] {
    return inOrder(new Set(set.ranges.flatMap((range) => this.#addresses.overlapping(range))));
  }

  #membersOf(network: Prefix): Set<Indexed<T>> {
    const key = keyOf(network);
    const known = this.#networks.get(key);
    if (known !== undefined) return known.members;
    const members = new Set<Indexed<T>>();
    this.#networks.set(key, { range: this.#networkRanges.add(prefixRange(network), key), members });
    return members;
  }

  /** Takes the object out of everything but the names. */
  #unlink(name: string): Indexed<T> | undefined {
    const indexed = this.#byName.get(name);
    for (const range of indexed?.ranges ?? []) this.#addresses.delete(range);
    const { network: key = "" } = indexed ?? {};
    const network = this.#networks.get(key);
    if (indexed === undefined || network === undefined) return indexed;
    network.members.delete(indexed);
    if (network.members.size === 0) {
      this.#networkRanges.delete(network.range);
      this.#networks.delete(key);
    }
    return indexed;
  }
}

function keyOf(network: Prefix): string {
  return formatPrefix(networkOf(network));
}

function inOrder<T>(found: Iterable<Indexed<T>>): readonly T[] {
  return [...found].sort((a, b) => a.order - b.order).map(({ object }) => object);
}
