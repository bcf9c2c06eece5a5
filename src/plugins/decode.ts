import { CniError, cniCodes, type JsonObject } from "#cni";

/** The error for a configuration value that cannot be used. `field` is its path from the configuration's top. */
export function invalid(field: string, value: unknown, allowed: string): CniError {
  return new CniError(cniCodes.invalidConfig, "the network configuration has a value that cannot be used", {
    details: { field, value, allowed },
  });
}

/** A whole number from `min` to `max`; undefined where it is absent or null. */
export function integerAt(
  object: JsonObject,
  key: string,
  { min, max, path = key }: { readonly min: number; readonly max: number; readonly path?: string },
): number | undefined {
  const value = object[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(path, value, `a whole number from ${min} to ${max}`);
}

/** A text; undefined where it is absent, null or empty, which all mean "not given". */
export function textAt(object: JsonObject, key: string, path: string = key): string | undefined {
  const value = object[key];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw invalid(path, value, "a text");
}

/** An object; empty where it is absent or null. */
export function objectAt(object: JsonObject, key: string, path: string = key): JsonObject {
  const value = object[key];
  if (value === undefined || value === null) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as JsonObject;
  throw invalid(path, value, "an object");
}

/** A list of objects; empty where it is absent or null. */
export function objectsAt(object: JsonObject, key: string, path: string = key): readonly JsonObject[] {
  const value = object[key];
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((one) => typeof one === "object" && one !== null)) return value;
  throw invalid(path, value, "a list of objects");
}

/** True or false; undefined where it is absent or null. */
export function flagAt(object: JsonObject, key: string, path: string = key): boolean | undefined {
  const value = object[key] ?? undefined;
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(path, value, "true or false");
}

/** One of the words; undefined where it is absent, null or empty. */
export function wordAt<T extends string>(object: JsonObject, key: string, words: readonly T[]): T | undefined {
  const text = textAt(object, key);
  const word = words.find((one) => one === text);
  if (text === undefined || word !== undefined) return word;
  throw invalid(key, text, words.join(" or "));
}
