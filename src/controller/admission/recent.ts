import type { Submitted, Violation } from "#api";
import type { Clock } from "#base";
import type { KubeObject } from "#kube";

/** How long an admitted object counts before the watch shows it: admission by others, storage and the watch's way. */
const recentMs = 5_000;
const recentMax = 1_000;

/**
 * Objects that were just admitted and which the store may not show yet. With them, of a hundred identical pools created at
 * once exactly one is admitted by a replica.
 */
export class Recent<T extends KubeObject> {
  readonly #clock: Clock;
  readonly #admitted = new Map<string, { readonly object: T; readonly untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
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

  list(): readonly T[] {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { untilMs }] of this.#admitted) if (untilMs <= nowMs) this.#admitted.delete(name);
    return [...this.#admitted.values()].map(({ object }) => object);
  }

  #add(name: string, object: Submitted<T>): void {
    this.#admitted.delete(name);
    this.#admitted.set(name, { object: object as unknown as T, untilMs: this.#clock.monotonicMs() + recentMs });
    const [oldest] = this.#admitted.keys();
    if (this.#admitted.size > recentMax && oldest !== undefined) this.#admitted.delete(oldest);
  }
}
