import { assertNever } from "#base";
import type { Attributes, MessageWriter } from "../netlink/attributes.ts";
import type { Encoding } from "./request.ts";
import type { BondValue, LinkKind } from "./types.ts";

// Attributes of <linux/if_link.h> that only one kind of link has (IFLA_INFO_DATA).

/** IFLA_VLAN_ID */
const vlanId = 1;
/** IFLA_MACVLAN_MODE and IFLA_IPVLAN_MODE. */
const childMode = 1;
/** Numbers of the modes in the kernel's headers. */
const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
/** IFLA_VXLAN_*: the remote address is GROUP or GROUP6. */
const vxlan = { id: 1, group4: 2, link: 3, port: 15, group6: 16 } as const;
/** RFC 7348 §5. */
const vxlanPort = 4789;
/** Attributes of a bond (IFLA_BOND_*) by the names that its options have in sysfs, and their width in bytes or kind. */
const bondOptions: Readonly<Record<string, readonly [type: number, form: 1 | 2 | 4 | "mac" | "ips"]>> = {
  mode: [1, 1],
  active_slave: [2, 4],
  miimon: [3, 4],
  updelay: [4, 4],
  downdelay: [5, 4],
  use_carrier: [6, 1],
  arp_interval: [7, 4],
  arp_ip_target: [8, "ips"],
  arp_validate: [9, 4],
  arp_all_targets: [10, 4],
  primary: [11, 4],
  primary_reselect: [12, 1],
  fail_over_mac: [13, 1],
  xmit_hash_policy: [14, 1],
  resend_igmp: [15, 4],
  num_peer_notif: [16, 1],
  all_slaves_active: [17, 1],
  min_links: [18, 4],
  lp_interval: [19, 4],
  packets_per_slave: [20, 4],
  lacp_rate: [21, 1],
  ad_select: [22, 1],
  ad_actor_sys_prio: [24, 2],
  ad_user_port_key: [25, 2],
  ad_actor_system: [26, "mac"],
  tlb_dynamic_lb: [27, 1],
  peer_notif_delay: [28, 4],
  lacp_active: [29, 1],
};
/** The options of a bond that `LinkKind` takes, by their names in sysfs; values are the kernel's numbers. */
export const bondOptionNames: readonly string[] = Object.keys(bondOptions).filter((name) => name !== "mode");

/** Writes what only this kind of link has. Throws RangeError like {@link putBond}. */
export function putKind(data: MessageWriter, kind: LinkKind, encoding: Encoding): void {
  switch (kind.kind) {
    case "bridge":
    case "dummy":
    case "ifb":
      return;
    case "macvlan":
      data.putU32(childMode, macvlanModes[kind.mode]);
      return;
    case "ipvlan":
      data.putU16(childMode, ipvlanModes[kind.mode]);
      return;
    case "vlan":
      data.putU16(vlanId, kind.id);
      return;
    case "vxlan":
      putVxlan(data, kind, encoding);
      return;
    case "bond":
      putBond(data, { mode: kind.mode, ...kind.options });
      return;
    default:
      assertNever(kind);
  }
}

function putVxlan(data: MessageWriter, kind: LinkKind & { kind: "vxlan" }, encoding: Encoding): void {
  data.putU32(vxlan.id, kind.id);
  if (kind.remote !== undefined) data.putIp(vxlan[`group${kind.remote.family}`], kind.remote);
  if (kind.parent !== undefined) data.putU32(vxlan.link, encoding.indexOf(kind.parent));
  const port = kind.port ?? vxlanPort;
  data.putBytes(vxlan.port, Uint8Array.of(port >> 8, port & 0xff)); // big-endian
}

/** Writes options of a bond by their names in sysfs. Throws RangeError for one that is unknown or has a value of another form. */
export function putBond(data: MessageWriter, options: Readonly<Record<string, BondValue>>): void {
  for (const [name, value] of Object.entries(options)) putBondOption(data, name, value);
}

function putBondOption(data: MessageWriter, name: string, value: BondValue): void {
  const option = bondOptions[name];
  if (option === undefined) throw new RangeError(`unknown bond option: ${name}`);
  const [type, form] = option;
  if (form === "mac" && typeof value === "string") data.putMac(type, value);
  else if (form === "ips" && typeof value === "object") {
    data.nest(type, (list) => {
      for (const [at, ip] of value.entries()) list.putIp(at, ip);
    });
  } else if (typeof value !== "number") throw new RangeError(`bond option ${name} cannot be ${JSON.stringify(value)}`);
  else if (form === 1) data.putU8(type, value);
  else if (form === 2) data.putU16(type, value);
  else data.putU32(type, value);
}

/** The settings that only one kind of link has, of a link that was read. */
type Data = () => Attributes | undefined;

/** The 802.1Q tag of a link of kind `vlan`; undefined for every other kind. */
export function readVlanId(kind: string | undefined, data: Data): number | undefined {
  return kind === "vlan" ? data()?.u16(vlanId) : undefined;
}

/** The mode of a link of kind `macvlan` or `ipvlan`; undefined for every other kind. */
export function readMode(kind: string | undefined, data: Data): string | undefined {
  if (kind === "macvlan") return nameOf(macvlanModes, data()?.u32(childMode));
  return kind === "ipvlan" ? nameOf(ipvlanModes, data()?.u16(childMode)) : undefined;
}

function nameOf(numbers: Readonly<Record<string, number>>, number: number | undefined): string | undefined {
  return Object.entries(numbers).find(([, one]) => one === number)?.[0];
}
