/** The times at which the view of each pool was written. */
export class ViewWrites {
  readonly #all: { readonly atMs: number; readonly pool: string }[] = [];

  /** Records a write at the present time. */
  note(pool: string): void {
    this.#all.push({ atMs: performance.now(), pool });
  }

  /** How many there were, and how many in the busiest second: of all pools, and of any one. */
  figures(): { readonly writes: number; readonly perSecond: number; readonly perSecondOfPool: number } {
    const ofPools = [...Map.groupBy(this.#all, ({ pool }) => pool).values()];
    return {
      writes: this.#all.length,
      perSecond: busiestSecond(this.#all),
      perSecondOfPool: Math.max(0, ...ofPools.map(busiestSecond)),
    };
  }
}

/** `writes`: in the order of their times. */
function busiestSecond(writes: readonly { readonly atMs: number }[]): number {
  let first = 0;
  let most = 0;
  for (const [last, { atMs }] of writes.entries()) {
    while ((writes[first]?.atMs ?? atMs) <= atMs - 1_000) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}
