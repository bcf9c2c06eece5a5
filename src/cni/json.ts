import { CniError, cniCodes } from "./errors.ts";
import { jsonDepthMax } from "./limits.ts";
import type { JsonObject } from "./types.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses JSON from text or UTF-8 bytes. `what` names the document in errors. Throws CniError 6, also for nesting deeper than
 * `jsonDepthMax`, so that whoever walks the value may do so recursively.
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

/** As `parseJson`, and throws CniError 6 for anything but an object. */
export function parseJsonObject(text: string | Uint8Array, what: string): JsonObject {
  return objectOf(parseJson(text, what), what);
}

/** `value` as an object; throws CniError 6 naming `what` if it is anything else. */
export function objectOf(value: unknown, what: string): JsonObject {
  if (isJsonObject(value)) return value;
  throw new CniError(cniCodes.decode, `failed to decode ${what}`, {
    text: `expected an object, found ${kindOf(value)}`,
  });
}

/** True for what JSON writes in braces. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a JSON value is, in the words of an error. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** A document as CNI plugins print it: four spaces, no newline at the end. */
export function formatJson(value: JsonObject): string {
  return JSON.stringify(value, undefined, 4);
}

/** No more than the levels that are allowed, as in most documents: then nothing need be counted. */
function hasFewBrackets(text: string): boolean {
  return text.split(/[[{]/, jsonDepthMax + 2).length <= jsonDepthMax + 1;
}

/** The deepest nesting of brackets outside strings; counts without building anything, and so before JSON.parse does. */
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
