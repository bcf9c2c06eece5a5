/** How many distinct values are remembered; beyond that, all are forgotten. */
const sharedMax = 100_000;

/** Keeps values that very many objects have in common once, instead of once per object. */
export class Shared<T> {
  readonly #known = new Map<string, T>();

  /** The value for this key, made at the first call. `make` must return equal values for equal keys. */
  of(key: string, make: (key: string) => T): T {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= sharedMax) this.#known.clear();
    const made = make(key);
    this.#known.set(key, made);
    return made;
  }
}

const texts = new Shared<string>();

/** The same string object for equal texts. */
export function once(text: string): string {
  return texts.of(text, (same) => same);
}
