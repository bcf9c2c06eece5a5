import { formatError, SpiderError } from "#base";
import { errorTextMax } from "./limits.ts";
import type { JsonObject } from "./types.ts";

/**
 * The numbers of the CNI specification ("Error" section; 1–99 are reserved by it), each with our stable code. `failed` (999)
 * is what plugins answer by custom where no number fits; our own numbers would start at 100.
 */
export const cniCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgain: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  failed: 999,
} as const;

const codeNames: ReadonlyMap<number, string> = new Map([
  [1, "CNI_INCOMPATIBLE_VERSION"],
  [2, "CNI_UNSUPPORTED_FIELD"],
  [3, "CNI_UNKNOWN_CONTAINER"],
  [4, "CNI_INVALID_ENVIRONMENT"],
  [5, "CNI_IO"],
  [6, "CNI_DECODE"],
  [7, "CNI_INVALID_CONFIG"],
  [8, "CNI_INVALID_NETNS"],
  [11, "CNI_TRY_AGAIN"],
  [50, "CNI_NOT_AVAILABLE"],
  [51, "CNI_LIMITED_CONNECTIVITY"],
]);

/** Characters of a value in the pairs of `text`. */
const foundMax = 200;

interface CniErrorOptions {
  /** Our own code, where the number says too little. @default that of the number */
  readonly code?: string;
  /** The `details` text of the answer; by default it is made of `details` and `cause`. */
  readonly text?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An error that a plugin answers with: `message` becomes `msg`, and runtimes show it as `msg; details`. */
export class CniError extends SpiderError {
  readonly cniCode: number;
  readonly #text: string | undefined;

  constructor(cniCode: number, message: string, options: CniErrorOptions = {}) {
    super(options.code ?? codeNames.get(cniCode) ?? "CNI_FAILED", shorten(message, errorTextMax), options);
    this.name = "CniError";
    this.cniCode = cniCode;
    this.#text = options.text === undefined ? undefined : shorten(options.text, errorTextMax);
  }

  /** Anything caught, as the error to answer with. A CniError is never wrapped again; all else becomes 999 or `cniCode`. */
  static from(error: unknown, cniCode: number = cniCodes.failed): CniError {
    if (error instanceof CniError) return error;
    if (error instanceof SpiderError) {
      const { code, message, details, cause } = error;
      return new CniError(cniCode, message, { code, details, cause });
    }
    return new CniError(cniCode, formatError(error) || "unknown failure", { cause: error });
  }

  /**
   * The `details` of the answer: what was given, else `key value` pairs and the causes, and last what `details.fix` says can
   * be done; "" when there is nothing to add.
   */
  get text(): string {
    if (this.#text !== undefined) return this.#text;
    const { fix, ...found } = this.details;
    const pairs = Object.entries(found).map(([key, value]) => `${key} ${shorten(shown(value), foundMax)}`);
    const cause = shorten(describe(this.cause), errorTextMax);
    const facts = [...pairs, ...(cause === "" || this.message.includes(cause) ? [] : [cause])].join(", ");
    return [facts, ...(typeof fix === "string" ? [`What to do: ${fix}`] : [])].filter((part) => part !== "").join(". ");
  }

  /** The answer as an object; `cniVersion` is the configuration's where it is known. */
  toJson(cniVersion: string): JsonObject {
    const text = this.text;
    return { cniVersion, code: this.cniCode, msg: this.message, ...(text === "" ? {} : { details: text }) };
  }
}

function describe(cause: unknown): string {
  if (cause instanceof CniError) return [cause.message, cause.text].filter((part) => part !== "").join("; ");
  return cause === undefined ? "" : formatError(cause);
}

/** A text as it is, unless it is empty: that would not be seen. */
function shown(value: unknown): string {
  return typeof value === "string" && value !== "" ? value : (JSON.stringify(value) ?? "undefined");
}

/** What was found may be as long as its sender liked. */
function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
