import { closeSync, fstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, SpiderError } from "#base";
import { LinuxError, must } from "./errors.ts";
import { libc } from "./libc.ts";
import { Rtnl } from "./rtnl/rtnl.ts";

/** Identity of a namespace. A path is only a hint, because another namespace may be mounted there later. */
interface NetnsId {
  readonly device: bigint;
  readonly inode: bigint;
}

const cloneNewnet = 0x4000_0000;
/** ioctl NS_GET_NSTYPE of <linux/nsfs.h>: answers the CLONE_* flag of a namespace file, ENOTTY for any other file. */
const nsGetType = 0xb703;
const msBind = 0x1000;
const mntDetach = 2;
/** The calling thread's own namespace; `/proc/self` would be the main thread's. */
const ownPath = "/proc/thread-self/ns/net";

/**
 * An open network namespace. It exists as long as this object does, whatever happens to its path. Dispose of it when the call
 * ends.
 */
export class Netns implements Disposable {
  readonly path: string;
  readonly id: NetnsId;
  /** Its descriptor, for requests that name a namespace by one. Owned by this object. */
  readonly fd: number;
  #rtnl: Rtnl | undefined;
  #closed = false;

  /** Takes over the descriptor. Use openNetns. */
  constructor(path: string, id: NetnsId, fd: number) {
    this.path = path;
    this.id = id;
    this.fd = fd;
  }

  /** Netlink of this namespace; its socket is made inside at first use and closed with this object. */
  get rtnl(): Rtnl {
    this.#rtnl ??= new Rtnl(this);
    return this.#rtnl;
  }

  /**
   * Runs `act` with the calling thread inside this namespace: 8 µs. Synchronous by type, because a pool thread that is
   * started meanwhile would inherit the namespace for ever, and other code would run inside at an `await`.
   */
  enter<T>(act: () => T extends PromiseLike<unknown> ? never : T): T {
    if (this.#closed)
      throw new SpiderError("NETNS_CLOSED", "the namespace was disposed", { details: { path: this.path } });
    const before = currentFd ?? hostNetns().fd;
    if (before === this.fd) return act();
    must(libc.setns(this.fd, cloneNewnet), `enter network namespace ${this.path}`);
    currentFd = this.fd;
    try {
      return act();
    } finally {
      leave(before);
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rtnl?.[Symbol.dispose]();
    closeSync(this.fd);
  }
}

/** Where this thread is now, if it has ever entered a namespace. */
let currentFd: number | undefined;
let host: Netns | undefined;

/** A thread that cannot go back would act on the wrong namespace from here on: the process must not go on. */
function leave(to: number): void {
  const returned = libc.setns(to, cloneNewnet);
  currentFd = to;
  if (returned === 0) return;
  process.stderr.write(`cannot leave a network namespace: ${libc.strerror(-returned)}\n`);
  process.abort();
}

/**
 * Opens the namespace bound to `path`. Throws LinuxError (`ENOENT`) if the path is absent and SpiderError
 * `NOT_A_NETNS`, naming the path, where it is anything but a network namespace.
 */
export function openNetns(path: string): Netns {
  const { fd, id } = openNamespaceFile(path);
  return new Netns(path, id, fd);
}

/** The namespace in which this process was started. Lives as long as the process; not to be disposed. */
export function hostNetns(): Netns {
  if (host === undefined) {
    const { fd, id } = openNamespaceFile(ownPath);
    host = new Netns(`/proc/${process.pid}/ns/net`, id, fd);
  }
  return host;
}

/** Identity of the namespace at `path`; undefined if the path is absent. Throws `NOT_A_NETNS` as openNetns does. */
export function readNetnsId(path: string): NetnsId | undefined {
  try {
    const { fd, id } = openNamespaceFile(path);
    closeSync(fd);
    return id;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** True if both are one namespace. */
export function sameNetns(a: NetnsId, b: NetnsId): boolean {
  return a.device === b.device && a.inode === b.inode;
}

/** Makes a new namespace with loopback up, bound to `path` (file and folders are created). For tests and the lab. */
export function createNetns(path: string): Netns {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "", { flag: "wx" });
  const before = currentFd ?? hostNetns().fd;
  try {
    must(libc.unshare(cloneNewnet), "make a network namespace");
    try {
      must(libc.mount(ownPath, path, null, msBind), `bind a network namespace to ${path}`);
    } finally {
      leave(before);
    }
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  const netns = openNetns(path);
  netns.rtnl.setLink("lo", { up: true });
  return netns;
}

/** Unbinds and removes the path; one that is gone is success. The namespace lives on while anything holds it. */
export function deleteNetns(path: string): void {
  const returned = libc.umount(path, mntDetach);
  const gone = ["ENOENT", "EINVAL"]; // EINVAL: not a mount point
  if (returned < 0) {
    const error = new LinuxError(-returned, `unbind network namespace ${path}`);
    if (!gone.includes(error.code)) throw error;
  }
  rmSync(path, { force: true });
}

function openNamespaceFile(path: string): { readonly fd: number; readonly id: NetnsId } {
  const fd = must(libc.open(path), `open network namespace ${path}`);
  const kind = libc.ioctl(fd, nsGetType, null);
  if (kind === cloneNewnet) {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return { fd, id: { device: dev, inode: ino } };
  }
  closeSync(fd);
  throw new SpiderError("NOT_A_NETNS", `${path} is not a network namespace`, { details: { path } });
}
