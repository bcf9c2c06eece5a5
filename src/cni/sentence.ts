import { SpiderError } from "#base";
import { CniError } from "./errors.ts";

/** What users are told of a failure. */
interface Sentence {
  /** Our code that says most about the failure (see {@link ownCode}). */
  readonly code: string;
  /** The `msg` and `details` of the answer as one text: what is wrong, what was found, and at the end what to do. */
  readonly message: string;
}

/** Precedes the command that tells more, at the end of an Event's text. */
export const hintMark = ". See: ";

/** The text about a failed call for the Pod's Event and `explain`: the same words as in the answer to the runtime. */
export function sentenceOf(error: unknown): Sentence {
  const { message, text } = CniError.from(error);
  return { code: ownCode(error), message: text === "" ? message : `${message}. ${text}` };
}

/** The first code in the chain of causes that is more than the name of a CNI number; `UNKNOWN` if no error is ours. */
export function ownCode(error: unknown): string {
  const isNumber = error instanceof CniError && error.code.startsWith("CNI_");
  if (isNumber && error.cause instanceof SpiderError) return ownCode(error.cause);
  return error instanceof SpiderError ? error.code : "UNKNOWN";
}
