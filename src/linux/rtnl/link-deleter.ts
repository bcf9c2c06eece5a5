import { randomInt } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { LinuxError } from "../errors.ts";
import { Channel, type Reply, type Request, type Transport } from "../netlink/channel.ts";
import { checkName, deleteGroupOperation, deleteLinkOperation, setLinkOperations } from "./link.ts";
import type { LinkRef } from "./request.ts";
import type { Link } from "./types.ts";

/** Links of one send: each costs a request, and one more deletes the group. */
const linksMax = 120;
/** How long a deletion that nobody waits for lets others join it. */
const restMs = 50;

interface Waiter {
  readonly link: LinkRef;
  /** Told whether the link was there, or what kept it. */
  readonly done: (outcome: boolean | LinuxError) => void;
}

/**
 * Deletes links off the main thread. Deleting a veth waits about 24 ms in the kernel, and deleting a link group of fifty waits
 * no longer. So all links that are to be deleted while a delete runs go together in the next one.
 */
export class LinkDeleter implements Disposable {
  readonly #open: () => Transport;
  readonly #where: string;
  /** A group number of our own, so that a group delete meets nobody else's links. */
  readonly #group = randomInt(0x4000_0000, 0x7fff_ffff);
  #channel: Channel | undefined;
  #waiting: Waiter[] = [];
  /** The deletions that are still to come, by the link's name. */
  readonly #leaving = new Map<string, Promise<unknown>>();
  #resting: Waiter[] = [];
  #rest: NodeJS.Timeout | undefined;
  #running = false;
  #disposed = false;

  /** `open` makes the socket, inside the namespace which errors call `where`. */
  constructor(open: () => Transport, where: string) {
    this.#open = open;
    this.#where = where;
  }

  /** Resolves when all are gone; a name that is gone already is success. Rejects with the first LinuxError. */
  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    const all = names.map((name) => this.#enqueue(this.#waiting, name));
    this.#wake();
    await Promise.all(all);
  }

  /**
   * Deletes a link that nobody waits for: with the next deletion, or after a pause. Each deletion makes every program that
   * watches links look at all of them. So many links should go together, and not while new ones are made. The link is
   * deleted by its index, since a new link may have its name by then.
   */
  async deleteSoon({ index, name }: Pick<Link, "index" | "name">): Promise<void> {
    const leaving = this.#enqueue(this.#resting, index);
    this.#leaving.set(name, leaving);
    if (this.#disposed) this.#wake();
    else this.#rest ??= setTimeout(() => this.#wake(), restMs);
    try {
      await leaving;
    } finally {
      if (this.#leaving.get(name) === leaving) this.#leaving.delete(name);
    }
  }

  /** Hurries the pending deletion of a link of this name, and resolves when it is gone: at once if there is none. */
  async gone(name: string): Promise<void> {
    const leaving = this.#leaving.get(name);
    if (leaving === undefined) return;
    this.#wake();
    await leaving;
  }

  /** Closes the socket, after all deletions that are under way or pending. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#wake();
    if (!this.#running) this.#close();
  }

  #enqueue(queue: Waiter[], link: LinkRef): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    queue.push({ link, done: (outcome) => (typeof outcome === "boolean" ? resolve(outcome) : reject(outcome)) });
    return promise;
  }

  #wake(): void {
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#waiting.push(...this.#resting.splice(0));
    if (!this.#running && this.#waiting.length > 0) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#running = true;
    await setImmediate(); // others of this turn come along
    while (this.#waiting.length > 0) {
      const waiters = this.#waiting.splice(0, linksMax);
      try {
        await this.#deleteGroup(waiters);
      } catch (error) {
        for (const { done } of waiters) done(error as LinuxError);
      }
    }
    this.#running = false;
    if (this.#disposed) this.#close();
  }

  async #deleteGroup(waiters: readonly Waiter[]): Promise<void> {
    const replies = await this.#send([
      ...waiters.flatMap(({ link }) => this.#setGroup(link, this.#group)),
      deleteGroupOperation(this.#group),
    ]);
    const grouped = waiters.filter(({ done }, index) => !settleFailed(replies[index], done));
    const groupError = replies.at(-1)?.error;
    if (groupError === undefined) for (const { done } of grouped) done(true);
    else if (grouped.length > 0) await this.#deleteSingly(grouped);
  }

  /** One link that cannot be deleted (hardware, loopback) makes the kernel refuse the whole group. */
  async #deleteSingly(waiters: readonly Waiter[]): Promise<void> {
    for (const { link, done } of waiters) {
      const [reply] = await this.#send([deleteLinkOperation(link, {}), ...this.#setGroup(link, 0)]);
      if (!settleFailed(reply, done)) done(true);
    }
  }

  #setGroup(link: LinkRef, group: number): readonly Request[] {
    const noLookup = { indexOf: () => 0 };
    return setLinkOperations(link, { group }, noLookup, {});
  }

  #send(requests: readonly Request[]): Promise<readonly Reply[]> {
    this.#channel ??= new Channel(this.#open(), this.#where);
    return this.#channel.exchangeLater(requests);
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
