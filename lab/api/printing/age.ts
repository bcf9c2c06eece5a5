import { type KubeObject, textAt } from "../types.ts";

/** The age of an object or a time, as kubectl prints it: `42s`, `5m3s`, `2d4h`; `<unknown>` without a time. */
export function ageOf(since: KubeObject | string | undefined, nowMs: number): string {
  const text = typeof since === "string" ? since : textAt(since, "metadata", "creationTimestamp");
  const thenMs = Date.parse(text);
  return Number.isNaN(thenMs) ? "<unknown>" : formatDuration(nowMs - thenMs);
}

/** At most two units, and only one if the larger one is large, like `duration.HumanDuration` of apimachinery. */
export function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const years = Math.floor(days / 365);
  const two = (large: string, small: number, unit: string) => (small === 0 ? large : `${large}${small}${unit}`);
  if (seconds < 0) return seconds < -1 ? "<invalid>" : "0s";
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(`${minutes}m`, seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return two(`${hours}h`, minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (hours < 192) return two(`${days}d`, hours % 24, "h");
  if (days < 730) return `${days}d`;
  return years < 8 ? two(`${years}y`, days % 365, "d") : `${years}y`;
}
