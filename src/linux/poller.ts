import { abortable } from "#base";
import { must } from "./errors.ts";
import { libc } from "./libc.ts";

const pollIn = 1;
/** `struct pollfd`: descriptor as i32, wanted events and returned events as i16. */
const pollfdBytes = 8;

interface Waiter {
  readonly fd: number;
  readonly ready: () => void;
}

/**
 * Waits for descriptors that Node's event loop refuses (netlink and packet sockets): one poll over all of them on one pool
 * thread, woken through an eventfd when the set changes. It holds a thread of the pool, and keeps the process alive, only
 * while something waits.
 */
class Poller {
  readonly #waiters = new Set<Waiter>();
  #wakeFd: number | undefined;
  #polling = false;

  /** Resolves when `fd` is readable or in error; rejects with the signal's reason. Abort before closing `fd`. */
  async readable(fd: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { fd, ready: resolve };
    this.#waiters.add(waiter);
    if (this.#polling) this.#wake();
    else void this.#run();
    try {
      await abortable(promise, signal);
    } finally {
      if (this.#waiters.delete(waiter)) this.#wake();
    }
  }

  async #run(): Promise<void> {
    this.#polling = true;
    const wakeFd = must(libc.eventfd(), "make an eventfd");
    this.#wakeFd = wakeFd;
    const wakeAtExit = () => this.#wake(); // the process would wait for the pool thread for ever
    process.once("exit", wakeAtExit);
    while (this.#waiters.size > 0) {
      const waiters = [...this.#waiters];
      const pollfds = Buffer.alloc(pollfdBytes * (waiters.length + 1));
      for (const [at, fd] of [...waiters.map(({ fd }) => fd), wakeFd].entries()) {
        pollfds.writeInt32LE(fd, pollfdBytes * at);
        pollfds.writeInt16LE(pollIn, pollfdBytes * at + 4);
      }
      // -1 is a signal that came meanwhile: nothing is ready then, and the loop polls again.
      if ((await libc.pollLater(pollfds)) < 0) continue;
      libc.read(wakeFd, Buffer.alloc(8));
      for (const [at, waiter] of waiters.entries()) {
        if (pollfds.readInt16LE(pollfdBytes * at + 6) === 0) continue;
        if (this.#waiters.delete(waiter)) waiter.ready();
      }
    }
    process.off("exit", wakeAtExit);
    this.#polling = false;
    libc.close(wakeFd);
  }

  #wake(): void {
    if (this.#polling && this.#wakeFd !== undefined) libc.write(this.#wakeFd, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
  }
}

/** The one of this process. */
export const poller = new Poller();
