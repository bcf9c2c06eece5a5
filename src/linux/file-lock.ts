import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Signal } from "#base";
import { LinuxError } from "./errors.ts";
import { libc } from "./libc.ts";

const exclusiveNow = 2 | 4; // LOCK_EX | LOCK_NB
const wouldBlock = 11;
/** The kernel wakes only threads that wait for a lock; this one has calls to take meanwhile. */
const lookAgainMs = 20;

/**
 * Takes the lock of a file (flock(2)), which is made if absent and stays. Undefined if another process has it. It falls
 * when it is disposed, or with the process, however that ends.
 */
export function tryLockFile(path: string): Disposable | undefined {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const fd = openSync(path, "a", 0o600);
  const result = libc.flock(fd, exclusiveNow);
  if (result >= 0) return { [Symbol.dispose]: () => closeSync(fd) };
  closeSync(fd);
  if (result === -wouldBlock) return undefined;
  throw new LinuxError(-result, `lock ${path}`);
}

/** The same, as soon as it is free. */
export async function lockFile(
  path: string,
  { clock, signal }: Signal & { readonly clock: Clock },
): Promise<Disposable> {
  for (;;) {
    signal.throwIfAborted();
    const lock = tryLockFile(path);
    if (lock !== undefined) return lock;
    await clock.sleep(lookAgainMs, { signal });
  }
}
