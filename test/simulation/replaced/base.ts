/** `#base` as the simulated programs see it: their system's clock is that of the process. */
import type { Clock } from "#base";
import { current } from "../runtime/process.ts";

export * from "#base";

export const systemClock: Clock = {
  monotonicMs: () => current().clock.monotonicMs(),
  wall: () => current().clock.wall(),
  after: (ms, act) => current().clock.after(ms, act),
  sleep: (ms, o) => current().clock.sleep(ms, o),
};

/** From the disk of the process' machine. */
export function readIfThere(path: string): Buffer | undefined {
  const text = current().machine.disk.read(path);
  return text === undefined ? undefined : Buffer.from(text);
}
