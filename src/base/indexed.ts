/** Up to this many objects of one value are a plain list; beyond that, finding one to remove would take too long. */
const listMax = 1_024;

/** Finds objects by values computed from them. Keeps one reference per object and value. */
export class Index<T extends object> {
  readonly #valuesOf: (object: T) => readonly string[];
  readonly #found = new Map<string, T[] | Set<T>>();
  /** Most values have one object, for which a list would cost more memory than the object. */
  readonly #only = new Map<string, T>();

  /** @param valuesOf the values under which an object is found; must give the same for the same object */
  constructor(valuesOf: (object: T) => readonly string[]) {
    this.#valuesOf = valuesOf;
  }

  /** The objects with this value, in the order in which they got it. */
  get(value: string): readonly T[] {
    const only = this.#only.get(value);
    return only === undefined ? [...(this.#found.get(value) ?? [])] : [only];
  }

  /** Replaces `before`, as given earlier as `now`, by `now`. `before` undefined: a new object; `now` undefined: it is gone. */
  move(before: T | undefined, now: T | undefined): void {
    for (const value of before === undefined ? [] : this.#valuesOf(before)) this.#remove(value, before as T);
    for (const value of now === undefined ? [] : this.#valuesOf(now)) this.#add(value, now as T);
  }

  #add(value: string, object: T): void {
    const only = this.#only.get(value);
    const found = this.#found.get(value);
    if (only === object) return;
    if (only !== undefined) {
      this.#only.delete(value);
      this.#found.set(value, [only, object]);
    } else if (found === undefined) this.#only.set(value, object);
    else if (found instanceof Set) found.add(object);
    else if (found.length >= listMax) this.#found.set(value, new Set([...found, object]));
    else if (!found.includes(object)) found.push(object);
  }

  #remove(value: string, object: T): void {
    const found = this.#found.get(value);
    if (this.#only.get(value) === object) this.#only.delete(value);
    else if (found instanceof Set) found.delete(object);
    else if (found?.includes(object) === true) found.splice(found.indexOf(object), 1);
    if (found !== undefined && (found instanceof Set ? found.size : found.length) === 0) this.#found.delete(value);
  }
}
