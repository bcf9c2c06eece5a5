/** What may show another history than the server's. */
interface Relisted {
  relist(): void;
}

/**
 * That the API server was put back to an earlier state, as one replica saw it: it may be the next to lead, and then has to act
 * on it. Everything that it watches is listed anew.
 */
export class Rewind {
  readonly #stores = new Set<Relisted>();
  #isPending = false;

  /** It was seen, and nothing was done about the ledger yet. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** What is to be listed anew; returns what ends that. */
  follow(stores: Iterable<Relisted>): () => void {
    const own = [...stores];
    for (const store of own) this.#stores.add(store);
    return () => {
      for (const store of own) this.#stores.delete(store);
    };
  }

  /** It has just been seen. */
  happened(): void {
    if (this.#isPending) return;
    this.#isPending = true;
    for (const store of this.#stores) store.relist();
  }

  /** It is on record that the ledger is not complete. */
  settled(): void {
    this.#isPending = false;
  }
}
