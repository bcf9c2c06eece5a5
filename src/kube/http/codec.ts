import { isJsonObject, readBody, SpiderError } from "#base";
import { ApiStatusError, type Attempt } from "../errors.ts";
import type { KubeObject, ObjectMeta } from "../kinds/resource.ts";
import { spansOfItems } from "./items.ts";
import { lineError } from "./lines.ts";

/** One page of a list. `resourceVersion` is that of the whole list. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** Given back in the next call; undefined on the last page. */
  readonly continue: string | undefined;
}

/**
 * One line of a watch. A BOOKMARK has no object: every change up to its version was reported before. With `endsList` it ends
 * the list with which a streaming watch begins.
 */
export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string; readonly endsList?: true };

/** The whole body as text. Throws `API_ANSWER_TOO_LARGE` beyond `maxBytes`. */
export async function readText(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  return (await readBytes(body, maxBytes)).toString("utf8");
}

/** The whole body. Throws `API_ANSWER_TOO_LARGE` beyond `maxBytes`. */
export async function readBytes(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const bytes = await readBody(body, maxBytes);
  if (bytes !== undefined) return bytes;
  throw new SpiderError("API_ANSWER_TOO_LARGE", "the API server's answer is too large", { details: { maxBytes } });
}

/** Throws `API_ANSWER_INVALID` if the text is not JSON. */
export function decodeJson(text: string, attempt: Attempt): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer(attempt, "JSON", text, cause);
  }
}

/** One object. Checks only what this module relies on; a kind's own shape is its module's business. */
export function decodeObject<T extends KubeObject>(value: unknown, attempt: Attempt): T {
  if (!isKubeObject(value)) throw invalidAnswer(attempt, "an object with metadata", value);
  return withoutManagedFields(value) as T;
}

/** One page of a list; each object is trimmed before the next one is decoded. */
export function decodePage<T extends KubeObject>(bytes: Buffer, attempt: Attempt, trim: (object: T) => T): Page<T> {
  const { array, items = [] } = spansOfItems(bytes) ?? {};
  const text = (start: number, end: number) => bytes.toString("utf8", start, end);
  const rest =
    array === undefined ? text(0, bytes.length) : `${text(0, array.start)}[]${text(array.end, bytes.length)}`;
  const value = decodeJson(rest, attempt);
  if (!isJsonObject(value) || !isJsonObject(value["metadata"])) throw invalidAnswer(attempt, "a list", value);
  const { resourceVersion, continue: token } = value["metadata"];
  const isList = array !== undefined || (value["items"] ?? undefined) === undefined;
  if (typeof resourceVersion !== "string" || !isList) throw invalidAnswer(attempt, "a list", value);
  return {
    items: items.map(({ start, end }) => trim(decodeObject<T>(decodeJson(text(start, end), attempt), attempt))),
    resourceVersion,
    continue: typeof token === "string" && token !== "" ? token : undefined,
  };
}

/** One line of a watch. Throws `API_WATCH_LINE` for what is no event, ApiStatusError for an ERROR event. */
export function decodeWatchLine<T extends KubeObject>(line: string, attempt: Attempt): WatchEvent<T> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw lineError("a line of the watch is not JSON", { ...attempt, line: line.slice(0, 200) }, cause);
  }
  const type = isJsonObject(value) ? value["type"] : undefined;
  const object = isJsonObject(value) ? value["object"] : undefined;
  if (type === "ERROR") throw statusError(object, { attempt, status: 500 });
  if (type === "BOOKMARK" && isJsonObject(object) && isJsonObject(object["metadata"])) {
    const { resourceVersion, annotations } = object["metadata"];
    const endsList = isJsonObject(annotations) && annotations["k8s.io/initial-events-end"] === "true";
    if (typeof resourceVersion === "string" && resourceVersion !== "")
      return { type, resourceVersion, ...(endsList && { endsList }) };
  } else if ((type === "ADDED" || type === "MODIFIED" || type === "DELETED") && isKubeObject(object)) {
    return { type, object: withoutManagedFields(object) as T };
  }
  throw lineError("a line of the watch is not an event", { ...attempt, line: line.slice(0, 200) });
}

/** The error of a Status object, or of an answer without one: `status` and `retryAfterMs` are those of the HTTP answer. */
export function statusError(
  value: unknown,
  answer: { readonly attempt: Attempt; readonly status: number; readonly retryAfterMs?: number | undefined },
): ApiStatusError {
  const body: Readonly<Record<string, unknown>> = isStatus(value) ? value : {};
  const details = isJsonObject(body["details"]) ? body["details"] : {};
  const seconds = details["retryAfterSeconds"];
  return new ApiStatusError(answer.attempt, {
    status: typeof body["code"] === "number" ? body["code"] : answer.status,
    reason: stringOf(body["reason"]),
    message: stringOf(body["message"]) ?? (typeof value === "string" ? value.slice(0, 500) : undefined),
    retryAfterMs: answer.retryAfterMs ?? (typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined),
  });
}

/** True for the server's own Status: a 404 without one comes from an address that it does not serve. */
export function isStatus(value: unknown): value is Readonly<Record<string, unknown>> {
  return isJsonObject(value) && value["kind"] === "Status";
}

function isKubeObject(value: unknown): value is KubeObject {
  if (!isJsonObject(value) || !isJsonObject(value["metadata"])) return false;
  const { name, resourceVersion } = value["metadata"];
  return typeof name === "string" && typeof resourceVersion === "string" && resourceVersion !== "";
}

/** Half of many objects, and nobody here reads them. An update without them leaves them as they are on the server. */
function withoutManagedFields(object: KubeObject): KubeObject {
  const metadata: ObjectMeta & { managedFields?: unknown } = object.metadata;
  delete metadata.managedFields;
  return object;
}

function stringOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function invalidAnswer(attempt: Attempt, expected: string, found: unknown, cause?: unknown): SpiderError {
  const text = typeof found === "string" ? found : JSON.stringify(found);
  return new SpiderError("API_ANSWER_INVALID", "the API server's answer is not what it should be", {
    details: { ...attempt, expected, found: text?.slice(0, 200) },
    cause,
  });
}
