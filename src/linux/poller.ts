import { abortable } from "#base";
import { must } from "./errors.ts";
import { libc } from "./libc.ts";

const pollIn = 1;
/** `struct pollfd`: descriptor as i32, wanted events and returned events as i16. */
const pollfdBytes = 8;

interface Waiter {
  readonly fd: number;
  readonly settle: (error?: unknown) => void;
}

/**
 * Waits for descriptors that Node's event loop refuses (netlink and packet sockets): one poll over all of them on one pool
 * thread, woken through an eventfd when the set changes. It holds a thread of the pool, and keeps the process alive, only
 * while something waits.
 */
class Poller {
  readonly #waiters = new Set<Waiter>();
  #wakeFd: number | undefined;

  /** Resolves when `fd` is readable or in error; rejects with the signal's reason. Abort before closing `fd`. */
  async readable(fd: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { fd, settle: (error) => (error === undefined ? resolve() : reject(error)) };
    if (this.#wakeFd === undefined) {
      this.#wakeFd = must(libc.eventfd(), "make an eventfd");
      this.#waiters.add(waiter);
      void this.#run(this.#wakeFd);
    } else {
      this.#waiters.add(waiter);
      this.#wake();
    }
    try {
      await abortable(promise, signal);
    } finally {
      if (this.#waiters.delete(waiter)) this.#wake();
    }
  }

  /** Polls until nobody waits. Never rejects: what goes wrong is every waiter's. */
  async #run(wakeFd: number): Promise<void> {
    const wakeAtExit = () => this.#wake(); // the process would wait for the pool thread for ever
    process.once("exit", wakeAtExit);
    try {
      while (this.#waiters.size > 0) await this.#pollOnce(wakeFd);
    } catch (error) {
      for (const { settle } of this.#waiters) settle(error);
      this.#waiters.clear();
    }
    process.off("exit", wakeAtExit);
    this.#wakeFd = undefined;
    libc.close(wakeFd);
  }

  async #pollOnce(wakeFd: number): Promise<void> {
    const waiters = [...this.#waiters];
    const pollfds = Buffer.alloc(pollfdBytes * (waiters.length + 1));
    for (const [at, fd] of [...waiters.map(({ fd }) => fd), wakeFd].entries()) {
      pollfds.writeInt32LE(fd, pollfdBytes * at);
      pollfds.writeInt16LE(pollIn, pollfdBytes * at + 4);
    }
    if ((await libc.pollLater(pollfds)) < 0) return; // a signal came meanwhile: nothing is ready, poll again
    libc.read(wakeFd, Buffer.alloc(8));
    for (const [at, waiter] of waiters.entries()) {
      const ready = pollfds.readInt16LE(pollfdBytes * at + 6) !== 0;
      if (ready && this.#waiters.delete(waiter)) waiter.settle();
    }
  }

  #wake(): void {
    if (this.#wakeFd !== undefined) libc.write(this.#wakeFd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  }
}

/** The one of this process. */
export const poller = new Poller();
