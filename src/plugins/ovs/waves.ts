import { abortable, type Signal } from "#base";

/** A wave with more members would keep the first of them waiting for an answer that the last does not need. */
const membersMax = 64;

/** A call's place in a wave. Disposed, it has left: it does nothing more that the wave waits for. */
export interface Place extends Disposable {
  /** Resolves when each member of the wave has called this, or has left. */
  together(): Promise<void>;
}

interface Waiter {
  readonly admit: (place: Place) => void;
}

/**
 * Lets calls through in waves: one begins when all members of the last one have left, and has all that wait, up to 64, by
 * turns between tenants (Pod namespaces). Calls that would each disturb the same neighbour so disturb it together.
 */
export class Waves {
  /** First in, first out for each tenant. The order of tenants is the order of their turns. */
  readonly #waiting = new Map<string, Waiter[]>();
  #isOpen = true;

  /** Resolves when the call's wave begins: at once where none is under way. Throws the signal's reason. */
  async enter(tenant: string, { signal }: Signal): Promise<Place> {
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<Place>();
    const waiter: Waiter = { admit: resolve };
    const queue = this.#waiting.get(tenant);
    if (queue === undefined) this.#waiting.set(tenant, [waiter]);
    else queue.push(waiter);
    if (this.#isOpen) this.#begin();
    try {
      return await abortable(promise, signal);
    } catch (error) {
      this.#forget(tenant, waiter);
      void promise.then((place) => place[Symbol.dispose]()); // It may have been admitted at the same moment.
      throw error;
    }
  }

  #begin(): void {
    const members = this.#next();
    this.#isOpen = members.length === 0;
    const [away, inside] = [new Set(members), new Set(members)];
    const everybody = Promise.withResolvers<void>();
    for (const member of members) {
      const arrive = () => {
        away.delete(member);
        if (away.size === 0) everybody.resolve();
      };
      const together = () => {
        arrive();
        return everybody.promise;
      };
      const leave = () => {
        arrive();
        if (inside.delete(member) && inside.size === 0) this.#begin();
      };
      member.admit({ together, [Symbol.dispose]: leave });
    }
  }

  /** Takes the next wave's members: one of each tenant in turn. */
  #next(): readonly Waiter[] {
    const members: Waiter[] = [];
    while (members.length < membersMax) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const [tenant, queue] = next;
      this.#waiting.delete(tenant);
      const first = queue.shift();
      if (first !== undefined) members.push(first);
      if (queue.length > 0) this.#waiting.set(tenant, queue);
    }
    return members;
  }

  #forget(tenant: string, waiter: Waiter): void {
    const rest = (this.#waiting.get(tenant) ?? []).filter((other) => other !== waiter);
    if (rest.length > 0) this.#waiting.set(tenant, rest);
    else this.#waiting.delete(tenant);
  }
}
