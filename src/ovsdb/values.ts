/**
 * The notation of column values, RFC 7047 §5.1. A set is `["set", […]]`, but a set with exactly one element is written as
 * the bare element; a map is `["map", [[key, value], …]]`; a row is named `["uuid", "…"]`, or `["named-uuid", "id"]` within
 * the transaction that inserts it.
 */

/** The elements of a column that holds a set; a single element may come bare (RFC 7047 §5.1). Malformed values are empty. */
export function decodeSet(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value[0] === "set") return Array.isArray(value[1]) ? value[1] : [];
  return [value];
}

/** The one element of an optional column, undefined if it is empty. */
export function decodeOptional<T>(value: unknown, decode: (element: unknown) => T | undefined): T | undefined {
  return decode(decodeSet(value)[0]);
}

/** An OVSDB map of texts (RFC 7047 §5.1); empty if the value is not one. */
export function decodeMap(value: unknown): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  if (!Array.isArray(value) || value[0] !== "map" || !Array.isArray(value[1])) return map;
  for (const pair of value[1]) {
    if (Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string") map.set(pair[0], pair[1]);
  }
  return map;
}

function decodeUuid(value: unknown): string | undefined {
  return Array.isArray(value) && value[0] === "uuid" && typeof value[1] === "string" ? value[1] : undefined;
}

/** A text; undefined if the value is not one. */
export function decodeText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** An integer; undefined if the value is not one. */
export function decodeInteger(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
}

/** The set of rows that a column refers to. */
export function decodeUuids(value: unknown): readonly string[] {
  return decodeSet(value).flatMap((element) => decodeUuid(element) ?? []);
}

/** A set in the notation of RFC 7047 §5.1. */
export function encodeSet(elements: readonly unknown[]): unknown {
  return ["set", elements];
}

/** A map in the notation of RFC 7047 §5.1. */
export function encodeMap(entries: Readonly<Record<string, string>>): unknown {
  return ["map", Object.entries(entries)];
}

/** A reference to a row in the notation of RFC 7047 §5.1. */
export function encodeUuid(uuid: string): unknown {
  return ["uuid", uuid];
}

/** A row that the same transaction inserts under `uuid-name` `id`. */
export function encodeNamedUuid(id: string): unknown {
  return ["named-uuid", id];
}
