import { SpiderError } from "#base";
import { CniError } from "./errors.ts";

/** A failure as users are told of it. */
interface Sentence {
  /** The code of the innermost error that is ours; `UNKNOWN` where none is. */
  readonly code: string;
  /** What runtimes show as `msg` and `details`, as one text: what is wrong, what was found, and last what to do. */
  readonly message: string;
}

/** Between what is wrong and what can be done about it, in every text about an error. */
export const adviceMark = "What to do: ";
/** Before the command that tells more, which ends the text of an Event. */
export const hintMark = ". See: ";

/** The one text about a failed call: for the Pod's Event and `explain`, in the words in which the runtime is answered. */
export function sentenceOf(error: unknown): Sentence {
  const { message, text } = CniError.from(error);
  return { code: ownCode(error), message: text === "" ? message : `${message}. ${text}` };
}

/** The code of the first error, from the outermost inwards, that is more than a CNI number. */
export function ownCode(error: unknown): string {
  const isNumber = error instanceof CniError && error.code.startsWith("CNI_");
  if (isNumber && error.cause instanceof SpiderError) return ownCode(error.cause);
  return error instanceof SpiderError ? error.code : "UNKNOWN";
}
