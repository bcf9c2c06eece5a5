/** `node:fs` as simulated processes see it: the disk of their machine. What a killed process writes is not written. */
import { current } from "../runtime/process.ts";

function missing(path: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, '${path}'`), { code: "ENOENT" });
}

export function mkdirSync(): void {}
export function chmodSync(): void {}
export function watchFile(): void {}
export function unwatchFile(): void {}

export function readdirSync(path: string): readonly string[] {
  return current().machine.disk.list(path);
}

export function readFileSync(path: string): string {
  const text = current().machine.disk.read(path);
  if (text === undefined) throw missing(path);
  return text;
}

export function writeFileSync(path: string, text: string): void {
  if (!current().isDead) current().machine.disk.write(path, text);
}

export function renameSync(from: string, to: string): void {
  const { isDead, machine } = current();
  if (isDead) return;
  const text = machine.disk.read(from);
  if (text === undefined) throw missing(from);
  machine.disk.remove(from);
  machine.disk.write(to, text);
}

export function rmSync(path: string, { force = false }: { readonly force?: boolean } = {}): void {
  const { isDead, machine } = current();
  if (!isDead && !machine.disk.remove(path) && !force) throw missing(path);
}

export const unlinkSync = rmSync;

export function existsSync(path: string): boolean {
  return current().machine.disk.read(path) !== undefined;
}

export function statSync(path: string, { throwIfNoEntry = true }: { readonly throwIfNoEntry?: boolean } = {}) {
  const text = current().machine.disk.read(path);
  if (text !== undefined)
    return { isFile: () => true, isDirectory: () => false, size: text.length, mtimeMs: 0, ino: 1 };
  if (throwIfNoEntry) throw missing(path);
  return undefined;
}

function unsupported(): never {
  throw new Error("this file operation is not simulated");
}

export {
  unsupported as accessSync,
  unsupported as closeSync,
  unsupported as copyFileSync,
  unsupported as fstatSync,
  unsupported as fsyncSync,
  unsupported as linkSync,
  unsupported as openSync,
  unsupported as readlinkSync,
  unsupported as symlinkSync,
  unsupported as watch,
  unsupported as writeSync,
};
