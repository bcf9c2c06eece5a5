/** An object of JSON: text in, values of any kind out. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether the value is an object in the sense of JSON: neither null nor a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
