import { randomInt } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { LinuxError } from "../errors.ts";
import { Channel, type Reply, type Request, type Transport } from "../netlink/channel.ts";
import { checkName, deleteGroupOperation, deleteLinkOperation, setLinkOperations } from "./link.ts";
import { located } from "./request.ts";

/** Names of one send: each costs a request, and one more deletes the group. */
const namesMax = 120;
/** From so many links on, taking down another one costs more than to wait for the delete that it joins. */
const crowd = 8;

interface Waiter {
  readonly name: string;
  /** Told whether the link was there, or what kept it. */
  readonly done: (outcome: boolean | LinuxError) => void;
}

/** A link that carries nothing any more. */
export interface Retired {
  /** False: there was no such link. */
  readonly existed: boolean;
  /** Resolves when it is gone. */
  readonly deleted: Promise<unknown>;
}

/**
 * Deletes links off the main thread. Deleting a veth waits about 24 ms in the kernel; fifty that were put into one link
 * group wait as long as one. So whatever is asked for while a delete runs goes together in the next.
 */
export class LinkDeleter implements Disposable {
  readonly #open: () => Transport;
  readonly #where: string;
  /** A group number of our own, so that a group delete meets nobody else's links. */
  readonly #group = randomInt(0x4000_0000, 0x7fff_ffff);
  #channel: Channel | undefined;
  #waiting: Waiter[] = [];
  #running = false;
  #inFlight = 0;
  #disposed = false;

  /** `open` makes the socket, inside the namespace which errors call `where`. */
  constructor(open: () => Transport, where: string) {
    this.#open = open;
    this.#where = where;
  }

  /** Resolves when all are gone; a name that is gone already is success. Rejects with the first LinuxError. */
  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    await Promise.all(names.map((name) => this.#enqueue(name)));
  }

  /**
   * Resolves when the link carries nothing any more, and sees to its deletion. `takeDown` does the first, on the calling
   * thread, and tells whether there is such a link. The kernel waits about a millisecond in it: in a crowd that adds up, so
   * that there the delete itself is waited for.
   */
  async retire(name: string, takeDown: () => boolean): Promise<Retired> {
    checkName(name);
    if (this.#inFlight + this.#waiting.length >= crowd) {
      const deleted = this.#enqueue(name);
      return { existed: await deleted, deleted };
    }
    const existed = takeDown();
    return { existed, deleted: existed ? this.#enqueue(name) : Promise.resolve() };
  }

  /** Closes the socket, after what is under way. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    if (!this.#running) this.#close();
  }

  #enqueue(name: string): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const done: Waiter["done"] = (outcome) => (typeof outcome === "boolean" ? resolve(outcome) : reject(outcome));
    this.#waiting.push({ name, done });
    if (!this.#running) void this.#drain();
    return promise;
  }

  async #drain(): Promise<void> {
    this.#running = true;
    await setImmediate(); // others of this turn come along
    while (this.#waiting.length > 0) {
      const waiters = this.#waiting.splice(0, namesMax);
      this.#inFlight = waiters.length;
      try {
        await this.#deleteGroup(waiters);
      } catch (error) {
        for (const { done } of waiters) done(error as LinuxError);
      }
      this.#inFlight = 0;
    }
    this.#running = false;
    if (this.#disposed) this.#close();
  }

  async #deleteGroup(waiters: readonly Waiter[]): Promise<void> {
    const replies = await this.#send([
      ...waiters.flatMap(({ name }) => this.#setGroup(name, this.#group)),
      deleteGroupOperation(this.#group),
    ]);
    const grouped = waiters.filter(({ done }, index) => !settleFailed(replies[index], done));
    const groupError = replies.at(-1)?.error;
    if (groupError === undefined) for (const { done } of grouped) done(true);
    else if (grouped.length > 0) await this.#deleteSingly(grouped);
  }

  /** One link that cannot be deleted (hardware, loopback) makes the kernel refuse the whole group. */
  async #deleteSingly(waiters: readonly Waiter[]): Promise<void> {
    for (const { name, done } of waiters) {
      const [reply] = await this.#send([deleteLinkOperation(name, {}), ...this.#setGroup(name, 0)]);
      if (!settleFailed(reply, done)) done(true);
    }
  }

  #setGroup(name: string, group: number): readonly Request[] {
    const noLookup = { indexOf: () => 0 };
    return setLinkOperations(name, { group }, noLookup, {});
  }

  #send(requests: readonly Request[]): Promise<readonly Reply[]> {
    this.#channel ??= new Channel(this.#open());
    return this.#channel.exchangeLater(requests.map((request) => located(request, this.#where)));
  }

  #close(): void {
    this.#channel?.[Symbol.dispose]();
    this.#channel = undefined;
  }
}

/** Settles a waiter whose request failed: a link that is gone is success. Returns whether it did. */
function settleFailed(reply: Reply | undefined, done: Waiter["done"]): boolean {
  const error = reply?.error;
  if (error === undefined) return false;
  done(error.code === "ENODEV" ? false : error);
  return true;
}
