/** Distinct values that are remembered; beyond it, all of them are forgotten and begin anew. */
const sharedMax = 100_000;

/** What very many objects have in common, kept once instead of once for each of them. */
export class Shared<T> {
  readonly #known = new Map<string, T>();

  /** What was made first for this key. `make` must give the same for the same key. */
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

/** The same text, always as the same string. */
export function once(text: string): string {
  return texts.of(text, (same) => same);
}
