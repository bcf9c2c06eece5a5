/** `#linux` as the simulated agent sees it: the namespaces of its machine. */
import { parseIp } from "#ip";
import { type Link, macOf } from "../cluster/machine.ts";
import { current } from "../runtime/process.ts";

interface NetnsId {
  readonly device: bigint;
  readonly inode: bigint;
}

const device = 4n;
const hostId: NetnsId = { device, inode: 1n };

export function bootId(): string {
  return current().machine.bootId;
}

export function readNetnsId(path: string): NetnsId | undefined {
  const namespace = current().machine.namespaces.get(path);
  return namespace && { device, inode: namespace.inode };
}

export function sameNetns(a: NetnsId, b: NetnsId): boolean {
  return a.device === b.device && a.inode === b.inode;
}

export function openNetns(path: string) {
  const id = readNetnsId(path);
  if (id === undefined) throw Object.assign(new Error(`ENOENT: no namespace ${path}`), { code: "ENOENT" });
  const inside = () => [...(current().machine.namespaces.get(path)?.links ?? [])];
  const links = () => {
    const mac = macOf(current().machine.namespaces.get(path)?.containerId ?? "");
    return inside().map(([name], at) => ({ name, mac, index: at + 1 }));
  };
  const addresses = () =>
    inside().flatMap(([, { ips }], at) =>
      ips.map((ip) => ({ link: at + 1, address: { ip: parseIp(ip), bits: 16 }, scope: 0 })),
    );
  const linkOf = (name: string) => current().machine.namespaces.get(path)?.links.get(name);
  return { path, id, rtnl: { routes: () => [], links, addresses, ...linksBy(linkOf) }, [Symbol.dispose]: () => {} };
}

export const mainTable = 254;

/** Advisory locks: they fall with the process. */
export function tryLockFile(path: string): Disposable | undefined {
  const process = current();
  const { locks } = process.machine;
  if (locks.has(path)) return undefined;
  const unlock = () => {
    if (locks.get(path) === process) locks.delete(path);
  };
  locks.set(path, process);
  process.onKill(unlock);
  return { [Symbol.dispose]: unlock };
}

export async function lockFile(path: string, { signal }: { readonly signal: AbortSignal }): Promise<Disposable> {
  for (;;) {
    const lock = tryLockFile(path);
    if (lock !== undefined) return lock;
    await current().clock.sleep(200, { signal });
  }
}

/** Of a link, whichever end it is asked by, only this is modelled: whether something comes through. */
function linksBy(linkOf: (name: string) => Link | undefined) {
  const setLink = (name: string, { up }: { readonly up?: boolean }) => {
    const link = linkOf(name);
    if (link !== undefined && up !== undefined && !current().isDead) link.isUp = up;
  };
  return { link: (name: string) => linkOf(name) && { name }, setLink };
}

export function hostNetns() {
  const { machine } = current();
  const links = () => machine.hostNames().map((name, at) => ({ name, index: at + 1 }));
  // What leads to Pods by the kernel's own table is not modelled.
  const rtnl = { ...linksBy((name) => machine.linkOf(name)), links, rules: () => [], routes: () => [] };
  return { id: hostId, rtnl };
}

/** The kernel's notifications: nobody takes rules or routes away here. */
export async function* monitor(_netns: object, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<never> {
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** A real process' memory. */
export function releaseCode(): void {}
