import { fractionsFrom } from "../../../src/base/testing/random.ts";

/** Seeded randomness. Draws are keyed by what they are for, so that leaving one thing out of a history moves no other. */
export class Random {
  /** In [0, 1). */
  readonly next: () => number;

  constructor(...seed: readonly (string | number)[]) {
    this.next = fractionsFrom(hash(seed.join("/")));
  }

  /** A whole number in [0, below). */
  int(below: number): number {
    return Math.floor(this.next() * below);
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    const found = from[this.int(from.length)];
    if (found === undefined) throw new RangeError("'from' must not be empty");
    return found;
  }

  /** One of the entries, as often as its weight says. */
  weighted<T>(from: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.next() * from.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of from) {
      left -= weight;
      if (left < 0) return value;
    }
    return this.pick(from)[1];
  }
}

/** 32 bits of FNV-1a, stirred once more: near seeds give far states. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  return Math.imul(state ^ (state >>> 16), 0x45d9f3b) ^ (state >>> 13);
}
