import {
  AddressIndex,
  type Neighbours,
  type SpiderIPPool,
  type SpiderSubnet,
  type Submitted,
  type Violation,
} from "#api";
import type { Clock } from "#base";
import type { IpSet, Prefix } from "#ip";
import type { Store } from "#kube";

/** How long an admitted object counts although the watch does not show it: time for other webhooks, storage and the watch. */
const recentMs = 5_000;
const recentMax = 1_000;

interface Admitted {
  /** The generation that the store showed at that time. Once it shows another, it has this object or a later one. */
  readonly generation: number | undefined;
  readonly untilMs: number;
}

/**
 * The objects of a store, and those just admitted that it may not show yet: if a hundred identical pools are created at
 * once, a replica admits exactly one. An object under change is found in both versions: either may become the stored one.
 */
export class Recent<T extends SpiderIPPool | SpiderSubnet> implements Neighbours<T> {
  readonly #store: Store<T>;
  readonly #stored: AddressIndex<T>;
  readonly #clock: Clock;
  readonly #admitted = new Map<string, Admitted>();
  readonly #objects = new AddressIndex<T>();

  /** `stored`: the objects of the store, by their addresses. */
  constructor(store: Store<T>, stored: AddressIndex<T>, clock: Clock) {
    this.#store = store;
    this.#stored = stored;
    this.#clock = clock;
    store.changed((name, now) => now === undefined && this.#forget(name));
  }

  /** Remembers the object unless it has violations; returns these. No `await` may come between the check and this call. */
  admit(
    object: Submitted<T>,
    violations: readonly Violation[],
    { dryRun }: { readonly dryRun: boolean },
  ): readonly Violation[] {
    const { name } = object.metadata;
    if (name !== undefined && violations.length === 0 && !dryRun) this.#add(name, object);
    return violations;
  }

  get(name: string): T | undefined {
    return this.#stored.get(name) ?? this.#recent().get(name);
  }

  within(network: Prefix): readonly T[] {
    return [...this.#stored.within(network), ...this.#recent().within(network)];
  }

  around(network: Prefix): readonly T[] {
    return [...this.#stored.around(network), ...this.#recent().around(network)];
  }

  sharing(set: IpSet): readonly T[] {
    return [...this.#stored.sharing(set), ...this.#recent().sharing(set)];
  }

  /** What was admitted lately and is not to be seen in the store. */
  #recent(): AddressIndex<T> {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { generation, untilMs }] of this.#admitted) {
      if (untilMs <= nowMs || this.#generationOf(name) !== generation) this.#forget(name);
    }
    return this.#objects;
  }

  #add(name: string, object: Submitted<T>): void {
    this.#forget(name);
    const untilMs = this.#clock.monotonicMs() + recentMs;
    this.#admitted.set(name, { generation: this.#generationOf(name), untilMs });
    this.#objects.put(object as unknown as T);
    const [oldest] = this.#admitted.keys();
    if (this.#admitted.size > recentMax && oldest !== undefined) this.#forget(oldest);
  }

  #forget(name: string): void {
    this.#admitted.delete(name);
    this.#objects.delete(name);
  }

  #generationOf(name: string): number | undefined {
    return this.#store.get(name)?.metadata.generation;
  }
}
