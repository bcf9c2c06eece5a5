import { linkMtuMin } from "#api";
import type { JsonObject } from "#base";
import type { PluginConfig } from "#cni";
import { hostPrefix, type Ip, networkOf, type Prefix, tryParseIp, tryParsePrefix } from "#ip";
import { flagAt, integerAt, invalid, objectAt, objectsAt, textAt } from "../decode.ts";

type CoordinatorMode = "auto" | "underlay" | "overlay" | "disabled";

/** The cluster's part of the configuration: spec and status of its SpiderCoordinator in one, with the Pod's annotation applied. */
export interface ClusterConfig {
  readonly mode?: string;
  readonly overlayPodCIDR?: readonly string[];
  readonly serviceCIDR?: readonly string[];
  readonly hijackCIDR?: readonly string[];
  readonly policyRoutes?: readonly { readonly dst: string; readonly gw: string }[];
  readonly tunePodRoutes?: boolean;
  readonly podMACPrefix?: string;
  readonly podDefaultRouteNIC?: string;
  readonly hostRuleTable?: number;
  readonly podRPFilter?: number;
  readonly txQueueLen?: number;
  readonly vethLinkAddress?: string;
  readonly vethMTU?: number;
}

interface PolicyRoute {
  readonly dst: Prefix;
  readonly gw: Ip;
}

/** The fields that both the plugin's configuration and the cluster's can set; undefined: not set. */
interface CoordinatorFields {
  readonly mode: CoordinatorMode | undefined;
  readonly overlayPodCidrs: readonly Prefix[] | undefined;
  readonly serviceCidrs: readonly Prefix[] | undefined;
  readonly hijackCidrs: readonly Prefix[] | undefined;
  readonly policyRoutes: readonly PolicyRoute[] | undefined;
  readonly tunePodRoutes: boolean | undefined;
  /** The first two octets of the interface's MAC address, `0a:1b`; the address of the Pod gives the other four. */
  readonly podMacPrefix: string | undefined;
  readonly podDefaultRouteNic: string | undefined;
  readonly hostRuleTable: number | undefined;
  /** The value of rp_filter in the Pod. Negative: it is not changed. */
  readonly podRpFilter: number | undefined;
  /** The length of the interface's transmit queue. 0: it is not changed. */
  readonly txQueueLen: number | undefined;
  readonly vethLinkAddress: Ip | undefined;
  readonly vethMtuBytes: number | undefined;
}

/** The `coordinator` plugin's configuration, decoded. */
export interface CoordinatorConfig {
  readonly config: PluginConfig;
  readonly fields: CoordinatorFields;
  /** The name that a Pod's first interface has. */
  readonly firstNic: string;
}

/** The settings of one call, from both configurations. */
export interface Settings {
  readonly mode: CoordinatorMode;
  readonly firstNic: string;
  /** Destinations that the Pod reaches through its node, in this order: Pods, Services, further ones of the configuration. */
  readonly hijackCidrs: readonly Prefix[];
  readonly policyRoutes: readonly PolicyRoute[];
  readonly tunePodRoutes: boolean;
  readonly podMacPrefix: string | undefined;
  readonly podDefaultRouteNic: string | undefined;
  readonly hostRuleTable: number;
  readonly podRpFilter: number;
  readonly txQueueLen: number;
  readonly vethLinkAddress: Ip | undefined;
  readonly vethMtuBytes: number;
}

/** The modes by their names in configurations. The last has two: the plugin's and the API's. */
const modes: ReadonlyMap<string, CoordinatorMode> = new Map([
  ["auto", "auto"],
  ["underlay", "underlay"],
  ["overlay", "overlay"],
  ["disable", "disabled"],
  ["disabled", "disabled"],
]);

/** The allowed values of `logOptions.logLevel`. It has no effect, because the agent logs, at its own level; others are refused. */
const logLevels: readonly string[] = ["debug", "info", "warn", "error", "fatal", "panic"];

/** Decodes the plugin's configuration. Throws CniError 7 with field, value and what is allowed. */
export function decodeCoordinatorConfig(config: PluginConfig): CoordinatorConfig {
  const logLevel = textAt(objectAt(config.raw, "logOptions"), "logLevel", "logOptions.logLevel");
  if (logLevel !== undefined && !logLevels.includes(logLevel.toLowerCase())) {
    throw invalid("logOptions.logLevel", logLevel, logLevels.join(", "));
  }
  return {
    config,
    fields: decodeFields(config.raw, "podDefaultRouteNic"),
    firstNic: textAt(config.raw, "podDefaultCniNic") ?? "eth0",
  };
}

/**
 * Merges the two configurations: each field is the plugin's, else the cluster's, else its default. Lists are not merged.
 *
 * @throws CniError 7 if a value of the cluster's cannot be used
 */
export function settingsOf({ fields, firstNic }: CoordinatorConfig, cluster: ClusterConfig): Settings {
  const inherited = inheritedFrom(cluster);
  const pick = <K extends keyof CoordinatorFields>(key: K): CoordinatorFields[K] => fields[key] ?? inherited[key];
  return {
    mode: pick("mode") ?? "auto",
    firstNic,
    hijackCidrs: [...(pick("overlayPodCidrs") ?? []), ...(pick("serviceCidrs") ?? []), ...(pick("hijackCidrs") ?? [])],
    policyRoutes: pick("policyRoutes") ?? [],
    tunePodRoutes: pick("tunePodRoutes") ?? true,
    podMacPrefix: pick("podMacPrefix"),
    podDefaultRouteNic: pick("podDefaultRouteNic"),
    hostRuleTable: pick("hostRuleTable") ?? 500,
    podRpFilter: pick("podRpFilter") ?? 0,
    txQueueLen: pick("txQueueLen") ?? 0,
    vethLinkAddress: pick("vethLinkAddress"),
    vethMtuBytes: pick("vethMtuBytes") ?? 1500,
  };
}

/** The cluster's parts that were decoded already: all Pods of a cluster share one object. */
const decodedClusters = new WeakMap<ClusterConfig, CoordinatorFields>();

function inheritedFrom(cluster: ClusterConfig): CoordinatorFields {
  const known = decodedClusters.get(cluster);
  if (known !== undefined) return known;
  const fields = decodeFields({ ...cluster }, "podDefaultRouteNIC");
  decodedClusters.set(cluster, fields);
  return fields;
}

const bounds = {
  table: { min: 0, max: 0xffff_ffff },
  rpFilter: { min: -0x8000_0000, max: 2 },
  queue: { min: 0, max: 0x7fff_ffff },
  mtu: { min: linkMtuMin, max: 65_535 },
} as const;

/** Decodes the fields that both configurations have. Empty texts and lists, and a table of 0, count as not set. */
function decodeFields(raw: JsonObject, routeNicKey: string): CoordinatorFields {
  return {
    mode: decodeMode(raw),
    overlayPodCidrs: cidrsAt(raw, "overlayPodCIDR"),
    serviceCidrs: cidrsAt(raw, "serviceCIDR"),
    hijackCidrs: cidrsAt(raw, "hijackCIDR"),
    policyRoutes: decodePolicyRoutes(raw),
    tunePodRoutes: flagAt(raw, "tunePodRoutes"),
    podMacPrefix: decodeMacPrefix(raw),
    podDefaultRouteNic: textAt(raw, routeNicKey),
    hostRuleTable: integerAt(raw, "hostRuleTable", bounds.table) || undefined,
    podRpFilter: integerAt(raw, "podRPFilter", bounds.rpFilter),
    txQueueLen: integerAt(raw, "txQueueLen", bounds.queue),
    vethLinkAddress: decodeLinkAddress(raw),
    vethMtuBytes: integerAt(raw, "vethMTU", bounds.mtu),
  };
}

function decodeMode(raw: JsonObject): CoordinatorMode | undefined {
  const text = textAt(raw, "mode");
  if (text === undefined) return undefined;
  const mode = modes.get(text);
  if (mode === undefined) throw invalid("mode", text, "auto, underlay, overlay or disabled");
  return mode;
}

/** The CIDRs of a list, with their host bits cleared: the kernel refuses a route whose destination has host bits. */
function cidrsAt(raw: JsonObject, key: string): readonly Prefix[] | undefined {
  const items = raw[key] ?? [];
  if (!Array.isArray(items)) throw invalid(key, items, "a list of CIDRs");
  const cidrs = items.map((item: unknown, at) => {
    const cidr = typeof item === "string" ? parseNetwork(item.trim()) : undefined;
    if (cidr === undefined) throw invalid(`${key}[${at}]`, item, "an IPv4 or IPv6 CIDR");
    return cidr;
  });
  return cidrs.length === 0 ? undefined : cidrs;
}

function decodePolicyRoutes(raw: JsonObject): readonly PolicyRoute[] | undefined {
  const routes = objectsAt(raw, "policyRoutes").map((item, at) => {
    const [dstText, gwText] = [item["dst"], item["gw"]];
    const dst = typeof dstText === "string" ? parseNetwork(dstText) : undefined;
    if (dst === undefined) throw invalid(`policyRoutes[${at}].dst`, dstText, "an IP address or a CIDR");
    const gw = typeof gwText === "string" ? tryParseIp(gwText) : undefined;
    if (gw === undefined) throw invalid(`policyRoutes[${at}].gw`, gwText, "an IP address");
    if (gw.family === dst.ip.family) return { dst, gw };
    throw invalid(`policyRoutes[${at}]`, item, `route dst "${dstText}" and gw "${gwText}" must use the same IP family`);
  });
  return routes.length === 0 ? undefined : routes;
}

function decodeMacPrefix(raw: JsonObject): string | undefined {
  const text = textAt(raw, "podMACPrefix")?.toLowerCase();
  if (text === undefined || /^[0-9a-f][02468ace]:[0-9a-f]{2}$/.test(text)) return text;
  throw invalid("podMACPrefix", text, "two octets of a unicast MAC address as in 0a:1b");
}

function decodeLinkAddress(raw: JsonObject): Ip | undefined {
  const text = textAt(raw, "vethLinkAddress");
  if (text === undefined) return undefined;
  const ip = tryParseIp(text, 4);
  if (ip === undefined) throw invalid("vethLinkAddress", text, "an IPv4 address");
  return ip;
}

/** A CIDR with its host bits cleared. An address alone stands for the CIDR that has only this address. */
function parseNetwork(text: string): Prefix | undefined {
  const prefix = tryParsePrefix(text);
  if (prefix !== undefined) return networkOf(prefix);
  const ip = tryParseIp(text);
  return ip === undefined ? undefined : hostPrefix(ip);
}
