/** Options of an error besides code and message. */
interface ErrorOptionsWithDetails {
  /** Data of this failure: object names, the value found, what is allowed, what to do next. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/**
 * The product's one error class. `message` says what was attempted and what is wrong, and is constant for a `code`; `details` has
 * everything that varies, so that logs can be grouped and tests can compare texts.
 */
export class SpiderError extends Error {
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: ErrorOptionsWithDetails = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SpiderError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** True if `error` is a SpiderError with this code. */
export function hasCode(error: unknown, code: string): error is SpiderError {
  return error instanceof SpiderError && error.code === code;
}

/** The code of a SpiderError or of a Node system error (`ENOENT`), else undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** One line for people: the messages from the outermost error to its innermost cause, joined by ": ". */
export function formatError(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error, depth = 0; at !== undefined && depth < 8; depth++) {
    const text = at instanceof Error ? at.message : String(at);
    if (text !== "" && !parts.some((part) => part.includes(text))) parts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(": ");
}

/** For the `default` of a switch that covers every case: a compile error when one is missing. */
export function assertNever(value: never): never {
  throw new TypeError(`unexpected value: ${JSON.stringify(value)}`);
}
