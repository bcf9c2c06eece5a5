import { printable, SpiderError } from "#base";

/** `metadata.annotations` of an object. The values are not checked yet. */
export type Annotations = Readonly<Record<string, string>>;

/** The longest annotation, in characters. A longer one is refused before it is parsed. */
const annotationLengthMax = 64 * 1024;

/** The longest name of a Kubernetes object. Patterns need no more, either. */
const nameLengthMax = 253;

/** The deepest JSON of an annotation. Three levels are enough for every annotation: a list in an object in a list. */
const nestingMax = 8;

/** Where a value is from and what it may look like. Every error about it says both. */
export interface AnnotationSource {
  readonly object: "Pod" | "Namespace";
  readonly key: string;
  /** An example of what is allowed. */
  readonly allowed: string;
}

/** Parses the JSON of an annotation. Throws SpiderError WRONG_INPUT if it is too long, no JSON, or nested too deep. */
function decodeAnnotation(source: AnnotationSource, text: string): unknown {
  if (text.length > annotationLengthMax) {
    throw wrongAnnotation(
      source,
      text,
      `it is ${text.length} characters long, at most ${annotationLengthMax} are accepted`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrongAnnotation(source, text, "it is not JSON", error);
  }
  if (deeperThan(nestingMax, value)) throw wrongAnnotation(source, text, `it is nested more than ${nestingMax} deep`);
  return value;
}

/** Decodes one annotation and reads its members. Throws SpiderError WRONG_INPUT with the path and what was found there. */
export class AnnotationReader {
  readonly #source: AnnotationSource;
  readonly #whole: string;
  /** The whole annotation. */
  readonly value: unknown;

  constructor(source: AnnotationSource, text: string) {
    this.#source = source;
    this.#whole = text;
    this.value = decodeAnnotation(source, text);
  }

  /** Of the annotation among others; undefined if it is absent. */
  static of(annotations: Annotations, source: AnnotationSource): AnnotationReader | undefined {
    const text = annotations[source.key];
    return text === undefined ? undefined : new AnnotationReader(source, text);
  }

  /** Reads a list; `null` counts as an empty one. */
  list(value: unknown, path: string): readonly unknown[] {
    if (value === null || value === undefined) return [];
    if (Array.isArray(value)) return value;
    throw this.error(`${path} must be a list, found ${describe(value)}`);
  }

  strings(value: unknown, path: string): readonly string[] {
    return this.list(value, path).map((item, at) => this.#text(item, `${path}[${at}]`));
  }

  string(value: unknown, path: string): string {
    return value === null || value === undefined ? "" : this.#text(value, path);
  }

  boolean(value: unknown, path: string): boolean {
    if (value === null || value === undefined) return false;
    if (typeof value === "boolean") return value;
    throw this.error(`${path} must be true or false, found ${describe(value)}`);
  }

  /** Reads an object; `null` counts as an empty one. The keys are lower-cased, because their case does not matter. */
  members(value: unknown, path: string): ReadonlyMap<string, unknown> {
    if (value === null) return new Map();
    if (typeof value === "object" && !Array.isArray(value)) {
      return new Map(Object.entries(value ?? {}).map(([key, member]) => [key.toLowerCase(), member]));
    }
    throw this.error(`${path} must be an object, found ${describe(value)}`);
  }

  /** Names, patterns and addresses: longer ones would push what is wrong out of the sentence that says it. */
  #text(value: unknown, path: string): string {
    if (typeof value !== "string") throw this.error(`${path} must be a string, found ${describe(value)}`);
    if (value.length <= nameLengthMax && !/\p{C}/u.test(value)) return value;
    const allowed = `at most ${nameLengthMax} characters, none of them a control character`;
    throw this.error(`${path} must have ${allowed}, found ${value.length}: ${describe(value)}`);
  }

  error(reason: string, cause?: unknown): SpiderError {
    return wrongAnnotation(this.#source, this.#whole, reason, cause);
  }
}

/** SpiderError WRONG_INPUT about one annotation. Its detail is the fix: what is allowed. */
export function wrongAnnotation(source: AnnotationSource, text: string, reason: string, cause?: unknown): SpiderError {
  const { object, key, allowed } = source;
  const value = printable(text.length > 120 ? `${text.slice(0, 120)}…` : text);
  const message = `wrong input, invalid format of ${object} annotation '${key}': ${reason}; its value is '${value}'`;
  return new SpiderError("WRONG_INPUT", message, { details: { fix: `write it like ${allowed}` }, cause });
}

function deeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((member) => deeperThan(levels - 1, member));
}

function describe(value: unknown): string {
  const text = printable(JSON.stringify(value) ?? String(value));
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
