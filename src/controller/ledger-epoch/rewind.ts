/** A store whose content may be newer than a restored server's. */
interface Relisted {
  relist(): void;
}

/**
 * Remembers in each replica that the API server was restored to an earlier state: the replica may be the next leader, which has
 * to act on it. All its stores list again.
 */
export class Rewind {
  readonly #stores = new Set<Relisted>();
  #isPending = false;

  /** A restore was seen, and the Lease does not record yet that the ledger is incomplete. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** Adds stores that must list again after a restore; returns a function that removes them. */
  follow(stores: Iterable<Relisted>): () => void {
    const own = [...stores];
    for (const store of own) this.#stores.add(store);
    return () => {
      for (const store of own) this.#stores.delete(store);
    };
  }

  /** To be called when a restore is seen. */
  happened(): void {
    if (this.#isPending) return;
    this.#isPending = true;
    for (const store of this.#stores) store.relist();
  }

  /** To be called when the Lease records that the ledger is incomplete. */
  settled(): void {
    this.#isPending = false;
  }
}
