import { CniError, cniCodes } from "#cni";
import { formatIp, type Ip, parseIp } from "#ip";
import type { BondValue } from "#linux";

/** The options of a bond to be made. */
export interface BondOptions {
  /** By the kernel's names. */
  readonly values: Readonly<Record<string, BondValue>>;
  /** The options whose value is an interface, with its name. */
  readonly links: Readonly<Partial<Record<"primary" | "active_slave", string>>>;
  /** Unknown keys, which have no effect. */
  readonly ignored: readonly string[];
}

type Kind = "link" | "mac" | "ips" | readonly string[];

/** The names of each option's values; a value's number is its position. Empty: numbers only. */
const words: Readonly<Record<string, readonly string[]>> = {
  ad_select: ["stable", "bandwidth", "count"],
  arp_validate: ["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"],
  arp_all_targets: ["any", "all"],
  fail_over_mac: ["none", "active", "follow"],
  lacp_rate: ["slow", "fast"],
  primary_reselect: ["always", "better", "failure"],
  xmit_hash_policy: ["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"],
};

const numbers = [
  ...(["ad_actor_sys_prio", "ad_user_port_key", "all_slaves_active", "arp_interval", "downdelay", "updelay"] as const),
  ...(["miimon", "min_links", "packets_per_slave", "tlb_dynamic_lb", "use_carrier", "lp_interval"] as const),
  ...(["resend_igmp", "peer_notif_delay", "num_peer_notif"] as const),
];

const kinds: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ...numbers.map((key) => [key, []] as const),
  ...Object.entries(words),
  ["primary", "link"],
  ["active_slave", "link"],
  ["ad_actor_system", "mac"],
  ["arp_ip_target", "ips"],
]);

/** Other spellings of the kernel's names. */
const spellings: Readonly<Record<string, string>> = { up_delay: "updelay" };

/**
 * Reads `key=value;key=value`. A value is a number, for some keys a name or a MAC address, for arp_ip_target one address or
 * a JSON list of them.
 *
 * @throws CniError 7 naming the item
 */
export function parseBondOptions(text: string): BondOptions {
  const values: Record<string, BondValue> = {};
  const links: Partial<Record<"primary" | "active_slave", string>> = {};
  const ignored: string[] = [];
  for (const item of text.split(";").map((one) => one.trim())) {
    if (item === "") continue;
    const [given = "", value, ...more] = item.split("=").map((one) => one.trim());
    if (given === "" || value === undefined || value === "" || more.length > 0) {
      throw wrong("failed to convert options to BondOptions", item, "key=value, items with ; between them");
    }
    const key = spellings[given] ?? given;
    const kind = kinds.get(key);
    if (kind === undefined) ignored.push(given);
    else if (kind === "link") links[key as "primary" | "active_slave"] = value;
    else if (kind === "mac") values[key] = macOf(item, value);
    else if (kind === "ips") values[key] = ipsOf(item, value);
    else values[key] = numberOf(item, value, kind);
  }
  return { values, links, ignored };
}

function numberOf(item: string, value: string, names: readonly string[]): number {
  const at = names.indexOf(value);
  if (at >= 0) return at;
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const allowed = names.length === 0 ? "a whole number" : `a whole number, or ${names.join(", ")}`;
  throw wrong("failed to convert options to BondOptions", item, allowed);
}

function macOf(item: string, value: string): string {
  const mac = value.toLowerCase();
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) return mac;
  throw wrong("invalid bond ad_actor_system", item, "a MAC address as in 02:00:00:00:00:01");
}

/** The value of arp_ip_target: the kernel accepts up to sixteen IPv4 addresses. */
function ipsOf(item: string, value: string): readonly Ip[] {
  const allowed = 'one to 16 IPv4 addresses as in ["10.0.0.1"]';
  try {
    const texts: unknown = value.startsWith("[") ? JSON.parse(value) : [value];
    if (!Array.isArray(texts) || texts.length === 0 || texts.length > 16) throw new RangeError("no such list");
    return texts.map((text) => {
      const ip = parseIp(String(text));
      if (ip.family !== 4) throw new RangeError(formatIp(ip));
      return ip;
    });
  } catch {
    throw wrong("invalid bond arp_ip_target", item, allowed);
  }
}

function wrong(message: string, item: string, allowed: string): CniError {
  return new CniError(cniCodes.invalidConfig, message, { details: { field: "bond.options", value: item, allowed } });
}
