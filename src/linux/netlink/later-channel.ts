import { Channel, type Reply, type Request, type Transport } from "./channel.ts";

/** Requests of one send, but for those of one caller: who comes meanwhile shall not wait for long. */
const requestsMax = 32;

interface Waiter {
  readonly requests: readonly Request[];
  readonly answered: PromiseWithResolvers<readonly Reply[]>;
}

/**
 * Exchanges for which the thread does not wait: the kernel works on them on a pool thread, one send at a time. Whatever is
 * asked meanwhile goes together in the next. Its socket is made at first use.
 */
export class LaterChannel implements Disposable {
  readonly #open: () => Transport;
  readonly #waiting: Waiter[] = [];
  #channel: Channel | undefined;
  #busy = false;
  #disposed = false;

  constructor(open: () => Transport) {
    this.#open = open;
  }

  /** The replies to at most 128 requests, which are worked off in order and in one send. Rejects where the exchange itself fails. */
  exchange(requests: readonly Request[]): Promise<readonly Reply[]> {
    const answered = Promise.withResolvers<readonly Reply[]>();
    this.#waiting.push({ requests, answered });
    if (!this.#busy) void this.#drain();
    return answered.promise;
  }

  /** Closes the socket, after what is under way. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    if (!this.#busy) this.#close();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const waiters = this.#next();
      try {
        this.#channel ??= new Channel(this.#open());
        const replies = await this.#channel.exchangeLater(waiters.flatMap(({ requests }) => requests));
        let at = 0;
        for (const { requests, answered } of waiters) {
          answered.resolve(replies.slice(at, at + requests.length));
          at += requests.length;
        }
      } catch (error) {
        for (const { answered } of waiters) answered.reject(error);
      }
    }
    this.#busy = false;
    if (this.#disposed) this.#close();
  }

  /** In their order: the first, and others as long as they fit. */
  #next(): readonly Waiter[] {
    let count = 0;
    const over = this.#waiting.findIndex(({ requests }, at) => {
      count += requests.length;
      return at > 0 && count > requestsMax;
    });
    return this.#waiting.splice(0, over === -1 ? this.#waiting.length : over);
  }

  #close(): void {
    this.#channel?.[Symbol.dispose]();
    this.#channel = undefined;
  }
}
