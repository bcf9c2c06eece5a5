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
 * Locks a file (flock(2)); creates the file if it is absent, and never removes it. Undefined if another process has the lock.
 * The lock ends when it is disposed of, or with the process, however that ends.
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
