import { tryParseClaimName } from "#ip";

/** How many names are read from one message, which anybody may have written. */
const namesMax = 64;

/** A value of the annotation `ipam.spidernet.io/doubts`: names of claims, and the time, so that a repetition is a change, too. */
export function writeDoubts(names: readonly string[], now: Date): string {
  return JSON.stringify({ at: now.toISOString(), claims: names });
}

/** The names of claims in a value of the annotation; skips anything else. */
export function readDoubts(text: string): readonly string[] {
  try {
    const { claims } = JSON.parse(text) ?? {};
    if (!Array.isArray(claims)) return [];
    return claims
      .slice(0, namesMax)
      .filter((name) => typeof name === "string" && tryParseClaimName(name) !== undefined);
  } catch {
    return [];
  }
}
