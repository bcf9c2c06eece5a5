/** Objects by values computed from them. An object is known by its key; it costs memory only while it is there. */
export class Index<T> {
  readonly #valuesOf: (object: T) => readonly string[];
  /** Most values have one object: a map for each of those would cost more than the objects. */
  readonly #found = new Map<string, Only<T> | Map<string, T>>();

  /** @param valuesOf the values under which an object is found, the same at each call */
  constructor(valuesOf: (object: T) => readonly string[]) {
    this.#valuesOf = valuesOf;
  }

  /** The objects of this value, in the order in which they got it. */
  get(value: string): readonly T[] {
    const found = this.#found.get(value);
    if (found === undefined) return [];
    return found instanceof Map ? [...found.values()] : [found.object];
  }

  /** The object of this key is now another; undefined: it is new, or gone. */
  move(key: string, before: T | undefined, now: T | undefined): void {
    for (const value of before === undefined ? [] : this.#valuesOf(before)) {
      this.#remove(value, key);
    }
    for (const value of now === undefined ? [] : this.#valuesOf(now)) this.#add(value, key, now as T);
  }

  #add(value: string, key: string, object: T): void {
    const found = this.#found.get(value);
    if (found instanceof Map) found.set(key, object);
    else if (found === undefined || found.key === key) this.#found.set(value, { key, object });
    else this.#found.set(value, new Map([[found.key, found.object]]).set(key, object));
  }

  #remove(value: string, key: string): void {
    const found = this.#found.get(value);
    if (found instanceof Map) found.delete(key);
    const isEmpty = found instanceof Map ? found.size === 0 : found?.key === key;
    if (isEmpty) this.#found.delete(value);
  }
}

interface Only<T> {
  readonly key: string;
  readonly object: T;
}
