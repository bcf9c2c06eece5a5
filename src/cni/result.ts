import { isJsonObject, type JsonObject } from "#base";
import { formatIp, formatPrefix, type Ip, type Prefix, tryParseIp, tryParsePrefix } from "#ip";
import { CniError, cniCodes } from "./errors.ts";
import { kindOf, objectOf } from "./json.ts";
import { resultItemsMax } from "./limits.ts";
import type { CniDns, CniInterface, CniIp, CniResult, CniRoute } from "./types.ts";
import { type ResultVersion, resultVersions } from "./versions.ts";

/** The result of verbs that have none, such as DEL and CHECK. */
export const emptyResult: CniResult = { interfaces: [], ips: [], routes: [] };

/**
 * Encodes a result as a JSON object of `version`. The keys are in the order that plugins of that version print: sorted since
 * 1.0.0; before, with `dns` last, even if it is empty. What the version cannot express is left out; since 0.3.0 these are only
 * an interface's mtu, socketPath and pciID. Throws CniError 1 for a version that is not in `resultVersions`, and CniError 7 if
 * the version is 0.2.0 or older and the result has no address.
 */
export function encodeResult(result: CniResult, version: string): JsonObject {
  const known = knownVersion(version);
  if (known === "0.1.0" || known === "0.2.0") return encodeLegacy(result, known);
  const old = known.startsWith("0.");
  const encoded: Growing = { cniVersion: known };
  if (!old && result.dns !== undefined) {
    const dns = encodeDns(result.dns);
    if (Object.keys(dns).length > 0) encoded["dns"] = dns;
  }
  putList(encoded, "interfaces", result.interfaces, (one) => encodeInterface(one, old));
  putList(encoded, "ips", result.ips, (one) => encodeIp(one, old));
  putList(encoded, "routes", result.routes, encodeRoute);
  if (old) encoded["dns"] = encodeDns(result.dns);
  return encoded;
}

/** An object that gets its keys in the order in which they are written. */
type Growing = Record<string, unknown>;

function putList<T>(to: Growing, key: string, items: readonly T[], encode: (item: T) => JsonObject): void {
  if (items.length > 0) to[key] = items.map(encode);
}

/** What is absent, empty or 0 is left out. */
function put(to: Growing, key: string, value: string | number | readonly string[] | undefined): void {
  const isEmpty = value === undefined || value === 0 || (typeof value !== "number" && value.length === 0);
  if (!isEmpty) to[key] = value;
}

function encodeInterface(one: CniInterface, old: boolean): JsonObject {
  const encoded: Growing = { name: one.name };
  put(encoded, "mac", one.mac);
  if (!old) put(encoded, "mtu", one.mtuBytes);
  put(encoded, "sandbox", one.sandbox);
  if (old) return encoded;
  put(encoded, "socketPath", one.socketPath);
  put(encoded, "pciID", one.pciId);
  return encoded;
}

function encodeIp(one: CniIp, old: boolean): JsonObject {
  const encoded: Growing = {};
  if (old) encoded["version"] = String(one.address.ip.family);
  if (one.interface !== undefined) encoded["interface"] = one.interface;
  encoded["address"] = formatPrefix(one.address);
  put(encoded, "gateway", one.gateway && formatIp(one.gateway));
  return encoded;
}

function encodeRoute(one: CniRoute): JsonObject {
  const encoded: Growing = { dst: formatPrefix(one.dst) };
  put(encoded, "gw", one.gw && formatIp(one.gw));
  put(encoded, "mtu", one.mtuBytes);
  put(encoded, "advmss", one.advmss);
  put(encoded, "priority", one.priority);
  if (one.table !== undefined) encoded["table"] = one.table;
  if (one.scope !== undefined) encoded["scope"] = one.scope;
  return encoded;
}

function encodeDns(dns: CniDns | undefined): JsonObject {
  const encoded: Growing = {};
  put(encoded, "nameservers", dns?.nameservers);
  put(encoded, "domain", dns?.domain);
  put(encoded, "search", dns?.search);
  put(encoded, "options", dns?.options);
  return encoded;
}

/** 0.1.0 and 0.2.0 have one address of each family and no interfaces. The rest is left out. */
function encodeLegacy(result: CniResult, version: ResultVersion): JsonObject {
  const encoded: Growing = { cniVersion: version };
  for (const family of [4, 6] as const) {
    const ip = result.ips.find(({ address }) => address.ip.family === family);
    if (ip === undefined) continue;
    const half: Growing = { ip: formatPrefix(ip.address) };
    put(half, "gateway", ip.gateway && formatIp(ip.gateway));
    const routes = result.routes.filter(({ dst }) => dst.ip.family === family);
    putList(half, "routes", routes, ({ dst, gw }) => {
      const route: Growing = { dst: formatPrefix(dst) };
      put(route, "gw", gw && formatIp(gw));
      return route;
    });
    encoded[`ip${family}`] = half;
  }
  if (Object.keys(encoded).length === 1) {
    throw new CniError(cniCodes.invalidConfig, "cannot convert: no valid IP addresses", {
      details: { cniVersion: version },
    });
  }
  encoded["dns"] = encodeDns(result.dns);
  return encoded;
}

/**
 * Decodes a result of any version. A result without a version has `impliedVersion`, that of the configuration. `null` counts
 * as absent. Throws CniError 1 for an unknown version and CniError 6, with the path of the field, for a malformed result.
 */
export function decodeResult(json: unknown, impliedVersion?: string): CniResult {
  const object = objectOf(json, "result");
  const version = knownVersion(text(object, "cniVersion", "") ?? impliedVersion ?? "0.1.0");
  const dns = decodeDns(object["dns"]);
  const found = version === "0.1.0" || version === "0.2.0" ? decodeLegacy(object) : decodeCurrent(object);
  return dns === undefined ? found : { ...found, dns };
}

function knownVersion(version: string): ResultVersion {
  const known = resultVersions.find((one) => one === version);
  if (known === undefined) {
    throw new CniError(cniCodes.incompatibleVersion, "unsupported CNI result version", {
      details: { found: version, allowed: resultVersions },
    });
  }
  return known;
}

function decodeCurrent(object: JsonObject): CniResult {
  return {
    interfaces: items(object, "interfaces", "", decodeInterface),
    ips: items(object, "ips", "", decodeIp),
    routes: items(object, "routes", "", decodeRoute),
  };
}

function decodeInterface(one: JsonObject, at: string): CniInterface {
  const found: CniInterface = { name: text(one, "name", at) ?? fail(`${at}name`, "a name", one["name"]) };
  keep(found, "mac", text(one, "mac", at));
  keep(found, "mtuBytes", integer(one, "mtu", at));
  keep(found, "sandbox", text(one, "sandbox", at));
  keep(found, "socketPath", text(one, "socketPath", at));
  keep(found, "pciId", text(one, "pciID", at));
  return found;
}

function decodeIp(one: JsonObject, at: string): CniIp {
  const found: CniIp = { address: prefix(one, "address", at) };
  keep(found, "gateway", ip(one, "gateway", at));
  keep(found, "interface", index(one, "interface", at));
  return found;
}

function decodeRoute(one: JsonObject, at: string): CniRoute {
  const found: CniRoute = { dst: prefix(one, "dst", at) };
  keep(found, "gw", ip(one, "gw", at));
  keep(found, "mtuBytes", integer(one, "mtu", at));
  keep(found, "advmss", integer(one, "advmss", at));
  keep(found, "priority", integer(one, "priority", at));
  keep(found, "table", index(one, "table", at));
  keep(found, "scope", index(one, "scope", at));
  return found;
}

function decodeLegacy(object: JsonObject): CniResult {
  const ips: CniIp[] = [];
  const routes: CniRoute[] = [];
  for (const key of ["ip4", "ip6"]) {
    if (object[key] === undefined || object[key] === null) continue;
    const half = objectOf(object[key], `result field ${key}`);
    const at = `${key}.`;
    const address: CniIp = { address: prefix(half, "ip", at) };
    keep(address, "gateway", ip(half, "gateway", at));
    ips.push(address);
    routes.push(...items(half, "routes", at, decodeRoute));
  }
  return { interfaces: [], ips, routes };
}

function decodeDns(value: unknown): CniDns | undefined {
  if (value === undefined || value === null) return undefined;
  const object = objectOf(value, "result field dns");
  const dns: CniDns = {};
  keep(dns, "nameservers", texts(object, "nameservers"));
  keep(dns, "domain", text(object, "domain", "dns."));
  keep(dns, "search", texts(object, "search"));
  keep(dns, "options", texts(object, "options"));
  return Object.keys(dns).length === 0 ? undefined : dns;
}

/** Sets a field of an object that is still being made; what is absent leaves no trace. */
function keep<T extends object, K extends keyof T>(of: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) of[key] = value;
}

// Each of these reads one field. `at` is the path before the key. null and "" count as absent: Go's encoder writes them so.

function items<T>(
  object: JsonObject,
  key: string,
  at: string,
  decode: (one: JsonObject, at: string) => T,
): readonly T[] {
  const value = object[key] ?? [];
  if (!Array.isArray(value)) fail(at + key, "an array", value);
  if (value.length > resultItemsMax) fail(at + key, `at most ${resultItemsMax} items`, value.length);
  return value.map((one: unknown, position) => {
    const path = `${at}${key}[${position}]`;
    return isJsonObject(one) ? decode(one, `${path}.`) : fail(path, "an object", one);
  });
}

function text(object: JsonObject, key: string, at: string): string | undefined {
  const value = object[key] ?? "";
  if (typeof value !== "string") fail(at + key, "a string", value);
  return value === "" ? undefined : value;
}

function texts(object: JsonObject, key: string): readonly string[] | undefined {
  const value = object[key] ?? [];
  if (!Array.isArray(value) || value.length > resultItemsMax || !value.every((one) => typeof one === "string")) {
    fail(`dns.${key}`, "an array of strings", value);
  }
  return value.length === 0 ? undefined : value;
}

/** A whole number ≥ 0, of a field where 0 means unset. */
function integer(object: JsonObject, key: string, at: string): number | undefined {
  return index(object, key, at) || undefined;
}

/** A whole number ≥ 0, of a field where 0 is an ordinary value. */
function index(object: JsonObject, key: string, at: string): number | undefined {
  const value = object[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    fail(at + key, "a whole number ≥ 0", value);
  return value;
}

function prefix(object: JsonObject, key: string, at: string): Prefix {
  const found = text(object, key, at) ?? "";
  const value = found.includes("/") ? tryParsePrefix(found) : undefined;
  return value ?? fail(at + key, "an address with prefix length", object[key]);
}

function ip(object: JsonObject, key: string, at: string): Ip | undefined {
  const found = text(object, key, at);
  return found === undefined ? undefined : (tryParseIp(found) ?? fail(at + key, "an address", found));
}

function fail(field: string, expected: string, found: unknown): never {
  const shown = typeof found === "string" || typeof found === "number" ? JSON.stringify(found) : kindOf(found);
  throw new CniError(cniCodes.decode, "invalid CNI result", {
    text: `${field}: expected ${expected}, found ${shown.slice(0, 200)}`,
  });
}
