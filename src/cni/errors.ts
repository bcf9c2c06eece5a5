import { formatError, type JsonObject, SpiderError } from "#base";
import { errorTextMax } from "./limits.ts";

/**
 * The error numbers of the CNI specification (section "Error"), which reserves 1 to 99. By custom, plugins answer 999
 * (`failed`) if no number fits. Numbers of our own would start at 100.
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

/** Our stable code for each number. */
const codeNames: ReadonlyMap<number, string> = new Map<number, string>([
  [cniCodes.incompatibleVersion, "CNI_INCOMPATIBLE_VERSION"],
  [cniCodes.unsupportedField, "CNI_UNSUPPORTED_FIELD"],
  [cniCodes.unknownContainer, "CNI_UNKNOWN_CONTAINER"],
  [cniCodes.invalidEnvironment, "CNI_INVALID_ENVIRONMENT"],
  [cniCodes.io, "CNI_IO"],
  [cniCodes.decode, "CNI_DECODE"],
  [cniCodes.invalidConfig, "CNI_INVALID_CONFIG"],
  [cniCodes.invalidNetns, "CNI_INVALID_NETNS"],
  [cniCodes.tryAgain, "CNI_TRY_AGAIN"],
  [cniCodes.notAvailable, "CNI_NOT_AVAILABLE"],
  [cniCodes.limitedConnectivity, "CNI_LIMITED_CONNECTIVITY"],
]);

/** Separates what is wrong from what can be done about it, in every text about an error. */
export const adviceMark = "What to do: ";

/** The length at which a value in `text` is cut, in characters. */
const foundMax = 200;

interface CniErrorOptions {
  /** Our own code, if the number says too little. @default the number's */
  readonly code?: string;
  /** The `details` text of the answer. @default made of `details` and `cause` */
  readonly text?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An error that a plugin answers with. `message` becomes `msg`; runtimes show `msg; details`. */
export class CniError extends SpiderError {
  readonly cniCode: number;
  readonly #text: string | undefined;

  constructor(cniCode: number, message: string, options: CniErrorOptions = {}) {
    super(options.code ?? codeNames.get(cniCode) ?? "CNI_FAILED", shorten(message, errorTextMax), options);
    this.name = "CniError";
    this.cniCode = cniCode;
    this.#text = options.text === undefined ? undefined : shorten(options.text, errorTextMax);
  }

  /** Makes anything that was caught an error to answer with. A CniError is returned as it is; all else gets `cniCode`. */
  static from(error: unknown, cniCode: number = cniCodes.failed): CniError {
    if (error instanceof CniError) return error;
    if (error instanceof SpiderError) {
      const { code, message, details, cause } = error;
      return new CniError(cniCode, message, { code, details, cause });
    }
    return new CniError(cniCode, formatError(error) || "unknown failure", { cause: error });
  }

  /**
   * The `details` text of the answer: the text that was given; otherwise the details as `key value` pairs, the causes, and
   * at the end the advice in `details.fix`. "" if there is nothing to add.
   */
  get text(): string {
    if (this.#text !== undefined) return this.#text;
    const { fix, ...found } = this.details;
    const pairs = Object.entries(found).map(([key, value]) => `${key} ${shorten(shown(value), foundMax)}`);
    const cause = shorten(describe(this.cause), errorTextMax);
    const facts = [...pairs, ...(cause === "" || this.message.includes(cause) ? [] : [cause])].join(", ");
    return [facts, ...(typeof fix === "string" ? [`${adviceMark}${fix}`] : [])]
      .filter((part) => part !== "")
      .join(". ");
  }

  /** The answer as an object. `cniVersion` is that of the configuration, if it is known. */
  toJson(cniVersion: string): JsonObject {
    const text = this.text;
    return { cniVersion, code: this.cniCode, msg: this.message, ...(text !== "" && { details: text }) };
  }
}

function describe(cause: unknown): string {
  if (cause instanceof CniError) return [cause.message, cause.text].filter((part) => part !== "").join("; ");
  return cause === undefined ? "" : formatError(cause);
}

/** A text is shown without quotes, unless it is empty and could not be seen. */
function shown(value: unknown): string {
  return typeof value === "string" && value !== "" ? value : (JSON.stringify(value) ?? "undefined");
}

/** Errors quote their input, which may be of any length. */
function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
