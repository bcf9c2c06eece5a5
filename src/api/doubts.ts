import { tryParseClaimName } from "#ip";

/** No more are read of one message, whoever wrote it. */
const namesMax = 64;

/** The value of the annotation `ipam.spidernet.io/doubts`: names of claims, and when they were told, so that each time is a change. */
export function writeDoubts(names: readonly string[], now: Date): string {
  return JSON.stringify({ at: now.toISOString(), claims: names });
}

/** The names of claims in the annotation's value; what is none is passed over. */
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
