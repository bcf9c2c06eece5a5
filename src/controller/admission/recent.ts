import type { Submitted, Violation } from "#api";
import type { Clock } from "#base";
import type { KubeObject, Store } from "#kube";

/** How long an admitted object counts before the watch shows it: admission by others, storage and the watch's way. */
const recentMs = 5_000;
const recentMax = 1_000;

interface Admitted<T> {
  readonly object: T;
  /** What the store showed then; once it shows another, that is the object itself or a later one. */
  readonly generation: number | undefined;
  readonly untilMs: number;
}

/**
 * The objects of a store and those that were just admitted and which it may not show yet: of a hundred identical pools
 * created at once, exactly one is admitted by a replica.
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

  /** Remembers an object that nothing speaks against. Call it in the turn of the judgement; returns the violations. */
  admit(
    object: Submitted<T>,
    violations: readonly Violation[],
    { dryRun }: { readonly dryRun: boolean },
  ): readonly Violation[] {
    const { name } = object.metadata;
    if (name !== undefined && violations.length === 0 && !dryRun) this.#add(name, object);
    return violations;
  }

  /** An object that is being changed is in it twice: either may come to be. */
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
