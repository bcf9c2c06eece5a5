import type { Submitted, Violation } from "#api";
import type { Clock } from "#base";
import type { KubeObject, Store } from "#kube";

/** How long an admitted object counts although the watch does not show it: time for other webhooks, storage and the watch. */
const recentMs = 5_000;
const recentMax = 1_000;

interface Admitted<T> {
  readonly object: T;
  /** The generation that the store showed at that time. Once it shows another, it has this object or a later one. */
  readonly generation: number | undefined;
  readonly untilMs: number;
}

/**
 * The objects of a store, and those just admitted that it may not show yet: if a hundred identical pools are created at
 * once, a replica admits exactly one.
 */
export class Recent<T extends KubeObject> {
  readonly #store: Store<T>;
  readonly #clock: Clock;
  readonly #admitted = new Map<string, Admitted<T>>();

  constructor(store: Store<T>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    store.changed((name, now) => now === undefined && this.#admitted.delete(name));
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

  /** An object under change is listed in both versions: either may become the stored one. */
  list(): readonly T[] {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { generation, untilMs }] of this.#admitted) {
      if (untilMs <= nowMs || this.#generationOf(name) !== generation) this.#admitted.delete(name);
    }
    return [...this.#store.list(), ...[...this.#admitted.values()].map(({ object }) => object)];
  }

  #add(name: string, object: Submitted<T>): void {
    this.#admitted.delete(name);
    const untilMs = this.#clock.monotonicMs() + recentMs;
    this.#admitted.set(name, { object: object as unknown as T, generation: this.#generationOf(name), untilMs });
    const [oldest] = this.#admitted.keys();
    if (this.#admitted.size > recentMax && oldest !== undefined) this.#admitted.delete(oldest);
  }

  #generationOf(name: string): number | undefined {
    return this.#store.get(name)?.metadata.generation;
  }
}
