import { accessSync, constants } from "node:fs";
import { type JsonObject, readConfigFile } from "#base";
import { type Attachment, CniError, cniCodes, type PluginConfig, parseJsonObject } from "#cni";
import { type DatapathType, isEndpoint, type Vlan } from "#ovsdb";
import {
  cniArgsOf,
  flagAt,
  integerAt,
  invalid,
  linkNameAt,
  macAt,
  macOf,
  mtuAt,
  objectAt,
  objectsAt,
  textAt,
  wordAt,
} from "../decode.ts";

/** The keys that both the network configuration and the flat file can set. Undefined: not set. */
export interface OvsFields {
  readonly bridge: string | undefined;
  readonly vlan: number | undefined;
  /** VLAN ids, sorted, without repetition. */
  readonly trunk: readonly number[] | undefined;
  readonly mtuBytes: number | undefined;
  readonly deviceId: string | undefined;
  readonly ofportRequest: number | undefined;
  readonly interfaceType: string | undefined;
  readonly socketFile: string | undefined;
  readonly linkStateRetries: number | undefined;
  readonly linkStateIntervalMs: number | undefined;
  readonly createBridge: boolean | undefined;
  readonly datapathType: DatapathType | undefined;
}

/** The `ovs` plugin's configuration, decoded. */
export interface OvsConfig {
  readonly config: PluginConfig;
  readonly fields: OvsFields;
  /** Path of a flat file that takes precedence over the usual ones. */
  readonly configurationPath: string | undefined;
  /** From args.cni, else from runtimeConfig. CNI_ARGS wins over it. */
  readonly mac: string | undefined;
  readonly ovnPort: string | undefined;
}

/** The settings of one call: configuration, flat file and CNI_ARGS merged. */
export interface OvsSettings {
  readonly bridge: string;
  /** How the bridge is created if there is none. If undefined, it must exist. */
  readonly createBridge: { readonly datapathType: DatapathType } | undefined;
  readonly vlan: Vlan;
  readonly mtuBytes: number | undefined;
  readonly mac: string | undefined;
  readonly ofportRequest: number | undefined;
  readonly interfaceType: string | undefined;
  readonly ifaceId: string | undefined;
  /** The OVSDB endpoint; undefined: the agent's own. */
  readonly socketFile: string | undefined;
  /** How long the port may take to come into service; undefined: as long as the call. */
  readonly readyMs: number | undefined;
}

/** The usual paths of the flat file, used if `configuration_path` names none. */
const flatFilePaths = ["/etc/kubernetes/cni/net.d/ovs.d/ovs.conf", "/etc/cni/net.d/ovs.d/ovs.conf"] as const;

const deviceInfoKey = "CNIDeviceInfoFile";
const defaultRetries = 5;
const defaultIntervalMs = 600;

/** Throws CniError 7 with field, value and what is allowed. */
export function decodeOvsConfig(config: PluginConfig): OvsConfig {
  return {
    config,
    fields: decodeFields(config.raw),
    configurationPath: textAt(config.raw, "configuration_path"),
    mac: macAt(config.raw),
    ovnPort: cniArgsOf(config.raw).get("ovnport"),
  };
}

/**
 * Merges configuration, flat file and CNI_ARGS. A key of the flat file counts only if the configuration does not set it.
 *
 * @throws CniError 7 if no bridge can be told or a value of CNI_ARGS cannot be used, CniError 2 for a deviceID
 */
export function settingsOf(c: OvsConfig, flat: OvsFields | undefined, { args }: Pick<Attachment, "args">): OvsSettings {
  const pick = <K extends keyof OvsFields>(key: K): OvsFields[K] | undefined => c.fields[key] ?? flat?.[key];
  const deviceId = pick("deviceId");
  if (deviceId !== undefined) {
    throw new CniError(
      cniCodes.unsupportedField,
      "the ovs plugin attaches veth pairs only, no SR-IOV or vDPA devices",
      {
        details: {
          field: "deviceID",
          value: deviceId,
          allowed: "none: representors of virtual functions are not handled",
        },
      },
    );
  }
  const ovnPort = args.get("OvnPort") || c.ovnPort;
  const bridge = pick("bridge") ?? (ovnPort === undefined ? undefined : "br-int");
  if (bridge === undefined) {
    throw invalid("bridge", "", "the name of an existing Open vSwitch bridge; it may be left out only with OvnPort");
  }
  const retries = pick("linkStateRetries");
  const intervalMs = pick("linkStateIntervalMs");
  const unlimited = retries === undefined && intervalMs === undefined;
  return {
    bridge,
    createBridge: pick("createBridge") === true ? { datapathType: pick("datapathType") ?? "system" } : undefined,
    vlan: vlanOf(pick("vlan"), pick("trunk")),
    mtuBytes: pick("mtuBytes"),
    mac: macOf(args) ?? c.mac,
    ofportRequest: pick("ofportRequest"),
    interfaceType: pick("interfaceType"),
    ifaceId: ovnPort,
    socketFile: pick("socketFile"),
    readyMs: unlimited ? undefined : (retries ?? defaultRetries) * (intervalMs ?? defaultIntervalMs),
  };
}

/** Checks that the device-info file which the configuration names can be read. Throws CniError 7 otherwise. */
export function checkDeviceInfo({ config: { raw } }: Pick<OvsConfig, "config">): void {
  const file = textAt(objectAt(raw, "runtimeConfig"), deviceInfoKey, `runtimeConfig.${deviceInfoKey}`);
  if (file === undefined) return;
  try {
    accessSync(file, constants.R_OK);
  } catch (cause) {
    throw new CniError(cniCodes.invalidConfig, "the information about the network's device cannot be read", {
      details: { field: `runtimeConfig.${deviceInfoKey}`, value: file, allowed: "a file that can be read" },
      cause,
    });
  }
}

/**
 * The first flat file that exists: that of `configuration_path`, else a usual one. Undefined if there is none.
 *
 * @throws CniError 7 if it cannot be read or holds a value that cannot be used
 */
export function readFlatFile(
  named: string | undefined,
  usual: readonly string[] = flatFilePaths,
): OvsFields | undefined {
  for (const path of named === undefined ? usual : [named, ...usual]) {
    try {
      const text = readConfigFile(path);
      if (text !== undefined) return decodeFields(parseJsonObject(text, path));
    } catch (cause) {
      throw new CniError(cniCodes.invalidConfig, "the flat configuration file of the ovs plugin cannot be used", {
        details: { path, ...(cause instanceof CniError ? cause.details : {}) },
        cause,
      });
    }
  }
  return undefined;
}

/** The database that a network's `ovs` plugin asks for; undefined: the node's usual one. Throws as {@link readFlatFile} does. */
export function ovsEndpointOf(raw: JsonObject): string | undefined {
  return decodeFields(raw).socketFile ?? readFlatFile(textAt(raw, "configuration_path"))?.socketFile;
}

/**
 * Types of interfaces that are no device of the kernel, or another one than the Pod's veth (ovs-vswitchd.conf.db(5)). A port of one
 * of them never comes into service, or leaves the Pod out; an ADD would wait for it until its deadline.
 */
const withoutVeth: ReadonlySet<string> = new Set([
  ...["internal", "patch", "tap", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient"],
  ...["geneve", "gre", "ip6gre", "erspan", "ip6erspan", "vxlan", "lisp", "stt", "bareudp", "gtpu", "srv6"],
]);

/** The keys that configuration and flat file share. Throws CniError 7. */
export function decodeFields(raw: JsonObject): OvsFields {
  const interfaceType = textAt(raw, "interface_type");
  if (interfaceType !== undefined && withoutVeth.has(interfaceType)) {
    const allowed =
      "a type that has the Pod's veth for its device: system, which is the default, afxdp or afxdp-nonpmd";
    throw invalid("interface_type", interfaceType, allowed);
  }
  const socketFile = textAt(raw, "socket_file");
  if (socketFile !== undefined && !isEndpoint(socketFile)) {
    throw invalid("socket_file", socketFile, "unix:/path, an absolute path, or tcp:host:port");
  }
  return {
    // A bridge is a network device, so its name has the same limits.
    bridge: linkNameAt(raw, "bridge"),
    createBridge: flagAt(raw, "create_bridge"),
    datapathType: wordAt(raw, "datapath_type", ["system", "netdev"]),
    vlan: integerAt(raw, "vlan", { min: 0, max: 4095 }),
    trunk: decodeTrunk(raw),
    // 0 means "not set" for all of these.
    mtuBytes: mtuAt(raw),
    deviceId: textAt(raw, "deviceID"),
    ofportRequest: integerAt(raw, "ofport_request", { min: 0, max: 65_279 }) || undefined,
    interfaceType,
    socketFile,
    linkStateRetries: integerAt(raw, "link_state_check_retries", { min: 0, max: 1_000 }) || undefined,
    linkStateIntervalMs: integerAt(raw, "link_state_check_interval", { min: 0, max: 60_000 }) || undefined,
  };
}

/** Reads `trunk`: each item is an `id` or a range from `minID` to `maxID`, whose ends are greater than 0. Others add nothing. */
function decodeTrunk(raw: JsonObject): readonly number[] | undefined {
  const items = objectsAt(raw, "trunk");
  if (items.length === 0) return undefined;
  const ids = new Set<number>();
  for (const [at, item] of items.entries()) {
    const idAt = (key: string) => integerAt(item, key, { min: 0, max: 4095, path: `trunk[${at}].${key}` });
    const [id, minId = 0, maxId = 0] = [idAt("id"), idAt("minID"), idAt("maxID")];
    if (id !== undefined) ids.add(id);
    if (minId === 0 || maxId === 0) continue;
    if (maxId < minId) throw invalid(`trunk[${at}]`, item, "a minID that is not greater than maxID");
    for (let each = minId; each <= maxId; each++) ids.add(each);
  }
  if (ids.size === 0)
    throw invalid("trunk", raw["trunk"], "at least one id, or one range with minID and maxID above 0");
  return [...ids].sort((a, b) => a - b);
}

/** A trunk takes precedence over a tag. Tag 0 is an access port, unlike no VLAN at all, which passes every VLAN. */
function vlanOf(vlan: number | undefined, trunk: readonly number[] | undefined): Vlan {
  if (trunk !== undefined) return { mode: "trunk", ids: trunk };
  return vlan === undefined ? { mode: "trunk", ids: [] } : { mode: "access", tag: vlan };
}
