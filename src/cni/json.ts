import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes } from "./errors.ts";
import { jsonDepthMax } from "./limits.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses JSON from text or UTF-8 bytes. `what` names the document in errors. Throws CniError 6, also if the document is nested
 * deeper than `jsonDepthMax`: then code that walks the value may be recursive.
 */
export function parseJson(text: string | Uint8Array, what: string): unknown {
  try {
    const decoded = typeof text === "string" ? text : utf8.decode(text);
    const depth = hasFewBrackets(decoded) ? 0 : jsonDepth(decoded);
    if (depth > jsonDepthMax) throw new RangeError(`nested ${depth} levels deep, allowed are ${jsonDepthMax}`);
    return JSON.parse(decoded);
  } catch (cause) {
    throw new CniError(cniCodes.decode, `failed to decode ${what}`, { cause });
  }
}

/** {@link parseJson} of an object. Throws CniError 6 for any other value, too. */
export function parseJsonObject(text: string | Uint8Array, what: string): JsonObject {
  return objectOf(parseJson(text, what), what);
}

/** Returns `value` if it is an object. Otherwise throws CniError 6, which names `what`. */
export function objectOf(value: unknown, what: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new CniError(cniCodes.decode, `failed to decode ${what}`, {
    text: `expected an object, found ${kindOf(value)}`,
  });
}

/** The kind of a JSON value, in words for errors: `an array`, `a number`. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Formats a document as CNI plugins do: indented by four spaces, without a newline at the end. */
export function formatJson(value: JsonObject): string {
  return JSON.stringify(value, undefined, 4);
}

/** True if there are at most as many brackets as levels are allowed. Most documents pass this cheap test. */
function hasFewBrackets(text: string): boolean {
  return text.split(/[[{]/, jsonDepthMax + 2).length <= jsonDepthMax + 1;
}

/** The deepest nesting of brackets outside strings. It runs before JSON.parse, and so must not recurse itself. */
function jsonDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (inString) {
      if (char === 0x5c) at++;
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (char === 0x7d || char === 0x5d) depth--;
  }
  return deepest;
}
