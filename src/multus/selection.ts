import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes, ifNameFault, parseJson } from "#cni";
import { type Ip, tryParseIp, tryParsePrefix } from "#ip";
import type { NetworkSelection } from "./types.ts";

/** The Pod's additional networks (NPWG multi-network specification §4.1). */
export const networksAnnotation = "k8s.v1.cni.cncf.io/networks";
/** The one network that replaces the cluster's default for this Pod. */
export const defaultNetworkAnnotation = "v1.multus-cni.io/default-network";

const networksMax = 64;
/** What Kubernetes allows for all annotations of an object together. */
const annotationBytesMax = 256 * 1024;
const subdomain = /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/;
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/**
 * Parses the networks annotation: a JSON array if the text contains `[`, `{` or `"`; otherwise a comma-separated list of
 * `[<namespace>/]<name>[@<interface>]`. Blank text names no network. Throws CniError 7 with the item, the field, what was
 * found and what is allowed.
 */
export function parseNetworks(text: string, defaultNamespace: string): readonly NetworkSelection[] {
  return parse(text, defaultNamespace, networksAnnotation);
}

/** Parses the default-network annotation: the same format, with exactly one network. Throws CniError 7. */
export function parseDefaultNetwork(text: string, multusNamespace: string): NetworkSelection {
  const [first, ...more] = parse(text, multusNamespace, defaultNetworkAnnotation);
  if (first !== undefined && more.length === 0) return first;
  return fail(defaultNetworkAnnotation, { found: `${more.length + (first ? 1 : 0)} networks`, allowed: "exactly one" });
}

/** The name of a selected network's NIC in the Pod; `position` counts the Pod's NICs, the default network's is 0. */
export function nicNameOf({ interface: name }: Pick<NetworkSelection, "interface">, position: number): string {
  return name ?? `net${position}`;
}

function parse(text: string, namespace: string, annotation: string): readonly NetworkSelection[] {
  if (text.length > annotationBytesMax) {
    fail(annotation, { found: `${text.length} characters`, allowed: `at most ${annotationBytesMax}` });
  }
  if (text.trim() === "") return [];
  const json = /[[{"]/.test(text);
  const items: readonly unknown[] = json ? parseArray(text, annotation) : text.split(",");
  if (items.length > networksMax)
    fail(annotation, { found: `${items.length} networks`, allowed: `at most ${networksMax}` });
  return items.map((item, at) => {
    const problem: Problem = (field, found, allowed) => fail(annotation, { item: at + 1, field, found, allowed });
    return json ? fromJson(item, namespace, problem) : fromShort(String(item), namespace, problem);
  });
}

/** Throws the error about one field of one item. */
type Problem = (field: string, found: unknown, allowed: string) => never;

function fail(annotation: string, details: Readonly<Record<string, unknown>>, cause?: unknown): never {
  throw new CniError(cniCodes.invalidConfig, `invalid annotation ${annotation}`, {
    code: "NETWORK_ANNOTATION",
    details,
    cause,
  });
}

function parseArray(text: string, annotation: string): readonly unknown[] {
  try {
    const items = parseJson(text, "the JSON form");
    if (Array.isArray(items)) return items;
  } catch (cause) {
    return fail(annotation, { allowed: "a JSON array or [namespace/]name[@interface], …" }, cause);
  }
  return fail(annotation, { found: "JSON of another kind", allowed: "a JSON array" });
}

function fromShort(item: string, defaultNamespace: string, problem: Problem): NetworkSelection {
  const [path = "", ifName, ...moreAts] = item.split("@").map((part) => part.trim());
  const [first = "", second, ...moreSlashes] = path.split("/").map((part) => part.trim());
  if (moreAts.length > 0) problem("network", item.trim(), "at most one @");
  if (moreSlashes.length > 0) problem("network", item.trim(), "at most one /");
  const [namespace, name] = second === undefined ? [defaultNamespace, first] : [first || defaultNamespace, second];
  if (!label.test(name))
    problem("name", name, "lower-case letters, digits and - (a name with dots needs the JSON form)");
  if (second !== undefined && first !== "" && !label.test(first)) {
    problem("namespace", first, "lower-case letters, digits and -");
  }
  return { namespace, name, ...(ifName !== undefined && { interface: checkedIfName(ifName, problem) }) };
}

function fromJson(item: unknown, defaultNamespace: string, problem: Problem): NetworkSelection {
  if (!isJsonObject(item)) return problem("network", item, "an object");
  const { text, texts, object } = readers(item, problem);
  const ifName = text("interface") ?? text("interfaceRequest");
  return defined({
    namespace: text("namespace") ?? defaultNamespace,
    name: checkedName(text("name") ?? "", problem),
    interface: ifName && checkedIfName(ifName, problem),
    ips: texts("ips")?.map((one) => checkedIp(one, problem)),
    mac: checkedHardware(text("mac"), [6, 8, 20], "mac", problem),
    infinibandGuid: checkedHardware(text("infiniband-guid"), [8], "infiniband-guid", problem),
    portMappings: portMappings(item["portMappings"] ?? undefined, problem),
    bandwidth: bandwidth(object("bandwidth"), problem),
    deviceId: text("deviceID"),
    cniArgs: object("cni-args"),
    defaultRoute: texts("default-route")?.map((one) => gateway(one, problem)),
    ipamClaimReference: text("ipam-claim-reference"),
  });
}

/** Functions that read one key, by type. null and "" count as absent. */
function readers(item: JsonObject, problem: Problem) {
  return {
    text: (key: string): string | undefined => {
      const value = item[key] ?? "";
      return typeof value === "string" ? value || undefined : problem(key, value, "a string");
    },
    texts: (key: string): readonly string[] | undefined => {
      const value = item[key] ?? undefined;
      if (value === undefined || (Array.isArray(value) && value.every((one) => typeof one === "string"))) return value;
      return problem(key, value, "an array of strings");
    },
    object: (key: string): JsonObject | undefined => {
      const value = item[key] ?? undefined;
      return value === undefined || isJsonObject(value) ? value : problem(key, value, "an object");
    },
  };
}

type Defined<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };

/** The object without its undefined members. */
function defined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function checkedName(name: string, problem: Problem): string {
  if (subdomain.test(name)) return name;
  return problem("name", name, 'the name of a NetworkAttachmentDefinition; "namespace" says in which namespace it is');
}

function checkedIfName(name: string, problem: Problem): string {
  const fault = ifNameFault(name);
  return fault === undefined ? name : problem("interface", name, `an interface name; this one ${fault}`);
}

function checkedIp(ip: string, problem: Problem): string {
  return tryParseIp(ip) || tryParsePrefix(ip) ? ip : problem("ips", ip, "an address or a CIDR");
}

function gateway(ip: string, problem: Problem): Ip {
  return tryParseIp(ip) ?? problem("default-route", ip, "an address");
}

function checkedHardware(
  text: string | undefined,
  bytes: readonly number[],
  field: string,
  problem: Problem,
): string | undefined {
  if (text === undefined || bytes.includes(hardwareBytes(text))) return text;
  return problem(field, text, `a hardware address of ${bytes.join(", ")} bytes`);
}

/** The length of a hardware address in bytes; 0 if it is none in one of the usual spellings. */
function hardwareBytes(text: string): number {
  if (/^[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2})*$/i.test(text)) return (text.length + 1) / 3;
  return /^[0-9a-f]{4}(\.[0-9a-f]{4})+$/i.test(text) ? ((text.length + 1) / 5) * 2 : 0;
}

function portMappings(value: unknown, problem: Problem): readonly JsonObject[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every(isJsonObject)) return problem("portMappings", value, "an array of objects");
  for (const mapping of value) {
    for (const key of ["hostPort", "containerPort"]) whole(mapping[key], 65_535, `portMappings.${key}`, problem);
    for (const key of ["protocol", "hostIP"]) {
      if (typeof (mapping[key] ?? "") !== "string") problem(`portMappings.${key}`, mapping[key], "a string");
    }
  }
  return value;
}

function bandwidth(value: JsonObject | undefined, problem: Problem): JsonObject | undefined {
  for (const key of ["ingressRate", "ingressBurst", "egressRate", "egressBurst"]) {
    whole(value?.[key], Number.MAX_SAFE_INTEGER, `bandwidth.${key}`, problem);
  }
  return value;
}

function whole(value: unknown, max: number, field: string, problem: Problem): void {
  const number = value ?? 0;
  if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number > max) {
    problem(field, value, `a whole number from 0 to ${max}`);
  }
}
