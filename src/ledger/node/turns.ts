import { FairQueue, type Signal } from "#base";

/** How many creates are in flight at a time, on a node and in one of its pools; and one more for a namespace that has none. */
export const createsAtOnce = { slots: 8, spare: 1, maxWaiting: 10_000 } as const;
/**
 * All nodes together have about so many creates in flight: more would only wait in the API server's queue, each over a connection
 * of its own, and be outdated when their turn comes.
 */
const createsTogether = 64;
/** After a collision, so many successes (or as many as nodes draw from the pool) allow one more create in flight. */
const successesMin = 4;

/**
 * The order of creates in one pool, and how many are in flight at a time. A create is a guess by what is known when it is sent.
 * While nodes collide at the same addresses, each has one create in flight. Otherwise the API server's queue would fill with
 * guesses that are outdated when their turn comes, each over a connection of its own.
 */
export class Turns {
  readonly #queue = new FairQueue({ ...createsAtOnce, slots: 1 });
  #slots = 1;
  #isAlone = true;
  /** How many nodes have addresses of the pool. */
  #nodes = 1;
  /** How many nodes have Pods that wait; 0 if nothing is granted to this one. */
  #granted = 0;

  /** How many have their turn. */
  get inside(): number {
    return this.#queue.depth.inside;
  }

  /** Resolves when it is the turn of one of the namespace's Pods; dispose it when its create is answered. */
  enter(namespace: string, o: Signal): Promise<Disposable> {
    return this.#queue.enter(namespace, o);
  }

  /** To be called when a create has made a claim. */
  made(): void {
    const { slots: most } = createsAtOnce;
    this.#resize(Math.min(most, this.#part, this.#slots + this.#step));
    if (this.#slots === most) this.#isAlone = true;
  }

  /** To be called after a collision: somebody else already had the address. */
  met(): void {
    this.#isAlone = false;
    this.#resize(1);
  }

  /**
   * Says how many nodes have addresses of the pool. `granted`: if free ones are granted to this node, to how many nodes they are
   * granted in all, which is on how many Pods wait.
   */
  among(nodes: number, { granted = 0 }: { readonly granted?: number | undefined } = {}): void {
    this.#nodes = nodes;
    this.#granted = granted;
  }

  /** To be called when nothing was allocated for a while: the collisions are probably over. */
  rested(): void {
    this.#isAlone = true;
    this.#granted = 0;
  }

  /** How many more creates in flight each success allows. */
  get #step(): number {
    if (!this.#isAlone) return 1 / Math.max(successesMin, this.#nodes);
    // Until the leader has told this node's part, its guesses may lie in another one's.
    return this.#granted > 0 ? 1 : 1 / successesMin;
  }

  /** This node's part of what all have in flight. */
  get #part(): number {
    return Math.max(1, createsTogether / Math.max(1, this.#granted));
  }

  #resize(slots: number): void {
    this.#slots = slots;
    this.#queue.resize(Math.floor(slots));
  }
}
