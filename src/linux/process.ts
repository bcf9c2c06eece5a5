import { readFileSync } from "node:fs";

let boot: string | undefined;

/** Differs after each boot of the machine. */
export function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}
