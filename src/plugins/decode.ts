import { linkMtuMin } from "#api";
import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes } from "#cni";

const linkMtuMax = 65_535;

/** The error for a configuration value that cannot be used. `field` is its path from the configuration's top. */
export function invalid(field: string, value: unknown, allowed: string, cause?: unknown): CniError {
  return new CniError(cniCodes.invalidConfig, "the network configuration has a value that cannot be used", {
    details: { field, value, allowed },
    ...(cause !== undefined && { cause }),
  });
}

/** A whole number from `min` to `max`; undefined if it is absent or null. */
export function integerAt(
  object: JsonObject,
  key: string,
  { min, max, path = key }: { readonly min: number; readonly max: number; readonly path?: string },
): number | undefined {
  const value = object[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(path, value, unquoted(value, `a whole number from ${min} to ${max}`));
}

/** The MTU of a link; undefined if it is absent or 0, which leave it to the kernel. */
export function mtuAt(object: JsonObject): number | undefined {
  const mtuBytes = integerAt(object, "mtu", { min: 0, max: linkMtuMax }) || undefined;
  if (mtuBytes === undefined || mtuBytes >= linkMtuMin) return mtuBytes;
  throw invalid("mtu", mtuBytes, `0 or a whole number from ${linkMtuMin} to ${linkMtuMax}`);
}

/** A text; undefined if it is absent, null or empty, which all mean "not given". */
export function textAt(object: JsonObject, key: string, path: string = key): string | undefined {
  const value = object[key];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw invalid(path, value, "a text");
}

/** An object; empty if it is absent or null. */
export function objectAt(object: JsonObject, key: string, path: string = key): JsonObject {
  const value = object[key];
  if (value === undefined || value === null) return {};
  if (isJsonObject(value)) return value;
  throw invalid(path, value, "an object");
}

/** A list of objects; empty if it is absent or null. */
export function objectsAt(object: JsonObject, key: string, path: string = key): readonly JsonObject[] {
  const value = object[key];
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every(isJsonObject)) return value;
  throw invalid(path, value, "a list of objects");
}

/** True or false; undefined if it is absent or null. */
export function flagAt(object: JsonObject, key: string, path: string = key): boolean | undefined {
  const value = object[key] ?? undefined;
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(path, value, unquoted(value, "true or false"));
}

/** What is allowed, for one who reads the value without its quotation marks and finds nothing wrong with it. */
function unquoted(value: unknown, allowed: string): string {
  return typeof value === "string" ? `${allowed}, without quotation marks` : allowed;
}

/** One of the words; undefined if it is absent, null or empty. */
export function wordAt<T extends string>(object: JsonObject, key: string, words: readonly T[]): T | undefined {
  const text = textAt(object, key);
  const word = words.find((one) => one === text);
  if (text === undefined || word !== undefined) return word;
  throw invalid(key, text, words.join(" or "));
}

/**
 * The texts of `args.cni` by their keys in lower case: the keys are matched without regard to case, and what is no text is
 * left alone.
 */
export function cniArgsOf(config: JsonObject): ReadonlyMap<string, string> {
  if (config["args"] === undefined) return noArgs;
  return new Map(
    Object.entries(objectAt(objectAt(config, "args"), "cni", "args.cni")).flatMap(([key, value]) =>
      typeof value === "string" && value !== "" ? [[key.toLowerCase(), value]] : [],
    ),
  );
}

const noArgs: ReadonlyMap<string, string> = new Map();

/** The MAC address that a configuration asks for: by `args.cni`, else by `runtimeConfig`. */
export function macAt(config: JsonObject): string | undefined {
  const runtimeMac = textAt(objectAt(config, "runtimeConfig"), "mac", "runtimeConfig.mac");
  return checkMac("args.cni.mac", cniArgsOf(config).get("mac")) ?? checkMac("runtimeConfig.mac", runtimeMac);
}

/** The MAC address that CNI_ARGS ask for; it wins over the configuration's. */
export function macOf(args: ReadonlyMap<string, string>): string | undefined {
  return checkMac("CNI_ARGS MAC", args.get("MAC") || undefined);
}

/** A unicast MAC address in lower case. Throws CniError 7 for any other text. */
export function checkMac(field: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const mac = value.toLowerCase();
  const unicast = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && mac !== "00:00:00:00:00:00";
  if (!unicast) throw invalid(field, value, "a unicast MAC address as in 02:00:00:00:00:01");
  return mac;
}

/** The name of an interface; undefined if it is absent or empty. */
export function linkNameAt(object: JsonObject, key: string): string | undefined {
  const name = textAt(object, key);
  if (name === undefined || isLinkName(name)) return name;
  throw invalid(key, name, "a name of 1 to 15 bytes without white space, / and :");
}

/** Whether the kernel takes it as the name of an interface. */
export function isLinkName(name: string): boolean {
  return Buffer.byteLength(name) <= 15 && /^(?!\.{1,2}$)[^\s/:\0]+$/.test(name);
}
