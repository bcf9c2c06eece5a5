import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { must } from "./errors.ts";
import { libc } from "./libc.ts";

const prSetPdeathsig = 1;

/**
 * The signal that this process gets when the thread ends which started it; 0 clears it. A parent that has ended before the
 * call sends none: compare `process.ppid` afterwards where that matters.
 */
export function setParentDeathSignal(signal: NodeJS.Signals | 0): void {
  const number = signal === 0 ? 0 : constants.signals[signal];
  must(libc.prctl(prSetPdeathsig, number), `ask for ${signal} at the parent's end`);
}

let boot: string | undefined;

/** Differs after each boot of the machine. */
export function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}
