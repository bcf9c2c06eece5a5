import type { JsonObject } from "#base";
import { type Attachment, CniError, cniCodes, type PluginConfig } from "#cni";
import type { LinkKind } from "#linux";
import { checkMac, flagAt, integerAt, invalid, linkNameAt, macAt, macOf, mtuAt, textAt, wordAt } from "../decode.ts";

type WithoutParent<K> = K extends { readonly parent: unknown } ? Omit<K, "parent"> : never;

/** The kind of link that is made on a parent, with its options. */
type SubInterface = WithoutParent<Extract<LinkKind, { readonly kind: "macvlan" | "ipvlan" | "vlan" }>>;

/** The configuration of a plugin that makes sub-interfaces, decoded. */
export interface SubInterfaceConfig {
  readonly config: PluginConfig;
  readonly make: SubInterface;
  /** The parent's name; undefined: the interface of the default route. */
  readonly master: string | undefined;
  /** The parent is in the container's namespace instead of the node's. */
  readonly linkInContainer: boolean;
  /** Undefined: the parent's MTU. */
  readonly mtuBytes: number | undefined;
  /** From the configuration. CNI_ARGS take precedence. */
  readonly mac: string | undefined;
}

/** Reads a `macvlan` configuration. Throws CniError 7 with field, value and what is allowed. */
export function decodeMacvlan(config: PluginConfig): SubInterfaceConfig {
  const mode = wordAt(config.raw, "mode", ["bridge", "private", "vepa", "passthru"]) ?? "bridge";
  return decode(config, { kind: "macvlan", mode });
}

/** Reads an `ipvlan` configuration. Throws CniError 7, and CniError 2 for a MAC address: an ipvlan has its parent's. */
export function decodeIpvlan(config: PluginConfig): SubInterfaceConfig {
  const mode = wordAt(config.raw, "mode", ["l2", "l3", "l3s"]) ?? "l2";
  const decoded = decode(config, { kind: "ipvlan", mode });
  refuseMac(decoded.mac);
  return decoded;
}

/** Reads a `vlan` configuration. Throws CniError 7, and CniError 2 for `vlanMode: auto`. */
export function decodeVlan(config: PluginConfig): SubInterfaceConfig {
  const { raw } = config;
  if (wordAt(raw, "vlanMode", ["manual", "auto"]) === "auto") {
    throw new CniError(cniCodes.unsupportedField, "the VLAN of a network cannot be chosen by a cloud's interfaces", {
      details: { field: "vlanMode", value: "auto", allowed: "manual, with vlanId" },
    });
  }
  const id = integerAt(raw, "vlanId", { min: 0, max: 4094 });
  if (id === undefined) throw invalid("vlanId", id, "a whole number from 0 to 4094");
  return decode(config, { kind: "vlan", id });
}

/**
 * The MAC address that one call asks for, by its arguments or by its configuration.
 *
 * @throws CniError 7 if it is no MAC address, CniError 2 for an ipvlan, which cannot have one of its own
 */
export function requestedMac(c: SubInterfaceConfig, { args }: Pick<Attachment, "args">): string | undefined {
  const mac = macOf(args) ?? c.mac;
  if (c.make.kind === "ipvlan") refuseMac(mac);
  return mac;
}

function decode(config: PluginConfig, make: SubInterface): SubInterfaceConfig {
  const { raw } = config;
  return {
    config,
    make,
    master: linkNameAt(raw, "master"),
    linkInContainer: flagAt(raw, "linkInContainer") ?? false,
    // 0 means "not set".
    mtuBytes: mtuAt(raw),
    mac: macAt(raw) ?? ownMac(raw),
  };
}

function ownMac(raw: JsonObject): string | undefined {
  return checkMac("mac", textAt(raw, "mac"));
}

function refuseMac(mac: string | undefined): void {
  if (mac === undefined) return;
  throw new CniError(cniCodes.unsupportedField, "an ipvlan interface has the MAC address of its parent", {
    details: { field: "mac", value: mac, allowed: "none; take macvlan for MAC addresses of the Pods' own" },
  });
}
