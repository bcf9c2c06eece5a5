import { FairQueue, type Signal } from "#base";

/** Creates in flight at once, of a node as of one pool on it; one more for a namespace that has none, beside another one's burst. */
export const createsAtOnce = { slots: 4, spare: 1, maxWaiting: 10_000 } as const;
/** After somebody else was met so many successes make room for one more create, or one for each node that draws from the pool. */
const successesMin = 4;

/**
 * Who creates in a pool next. A create is a guess by what is known when it is sent: as long as nodes meet at the same addresses,
 * each has one create in flight, or the API server's queue would be full of guesses that are old when their turn comes, each of them
 * over a connection of its own.
 */
export class Turns {
  readonly #queue = new FairQueue({ ...createsAtOnce, slots: 1 });
  #slots = 1;
  #isAlone = true;
  #successes = successesMin;

  /** Resolves when it is the turn of one of the namespace's Pods; dispose it when its create is answered. */
  enter(namespace: string, o: Signal): Promise<Disposable> {
    return this.#queue.enter(namespace, o);
  }

  /** A create made a claim. */
  made(): void {
    const { slots: most } = createsAtOnce;
    this.#resize(Math.min(most, this.#slots + (this.#isAlone ? 1 : 1 / this.#successes)));
    if (this.#slots === most) this.#isAlone = true;
  }

  /** The address of a create was somebody else's already. */
  met(): void {
    this.#isAlone = false;
    this.#resize(1);
  }

  /** So many nodes have addresses of the pool. */
  among(nodes: number): void {
    this.#successes = Math.max(successesMin, nodes);
  }

  /** Nobody has drawn for a while: whom we met is gone. */
  rested(): void {
    this.#isAlone = true;
  }

  #resize(slots: number): void {
    this.#slots = slots;
    this.#queue.resize(Math.floor(slots));
  }
}
