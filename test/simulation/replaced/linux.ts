/** `#linux` as the simulated agent sees it: the namespaces of its machine. */
import { macOf } from "../machine.ts";
import { current } from "../process.ts";

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
  const links = () => {
    const namespace = current().machine.namespaces.get(path);
    return [...(namespace?.links.keys() ?? [])].map((name) => ({ name, mac: macOf(namespace?.containerId ?? "") }));
  };
  return { path, id, rtnl: { routes: () => [], links }, [Symbol.dispose]: () => {} };
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

export function hostNetns() {
  const { machine } = current();
  const linkOf = (name: string) => machine.linkOf(name);
  const setLink = (name: string, { up }: { readonly up?: boolean }) => {
    const link = linkOf(name);
    if (link !== undefined && up !== undefined && !current().isDead) link.isUp = up;
  };
  return { id: hostId, rtnl: { link: (name: string) => linkOf(name) && { name }, setLink } };
}

/** The kernel's notifications: nobody takes rules or routes away here. */
export async function* monitor(_netns: object, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<never> {
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** A real process' memory. */
export function releaseCode(): void {}
