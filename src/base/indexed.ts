/** Objects by values computed from them. An object is known by its key; it costs memory only while it is there. */
export class Index<T> {
  readonly #valuesOf: (object: T) => readonly string[];
  readonly #found = new Map<string, Map<string, T>>();

  /** @param valuesOf the values under which an object is found, the same at each call */
  constructor(valuesOf: (object: T) => readonly string[]) {
    this.#valuesOf = valuesOf;
  }

  /** The objects of this value, in the order in which they got it. */
  get(value: string): readonly T[] {
    return [...(this.#found.get(value)?.values() ?? [])];
  }

  /** The object of this key is now another; undefined: it is new, or gone. */
  move(key: string, before: T | undefined, now: T | undefined): void {
    for (const value of before === undefined ? [] : this.#valuesOf(before)) {
      const objects = this.#found.get(value);
      objects?.delete(key);
      if (objects?.size === 0) this.#found.delete(value);
    }
    for (const value of now === undefined ? [] : this.#valuesOf(now)) {
      const objects = this.#found.get(value) ?? new Map<string, T>();
      this.#found.set(value, objects.set(key, now as T));
    }
  }
}
