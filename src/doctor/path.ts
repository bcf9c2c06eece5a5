import { formatIp, formatPrefix } from "#ip";
import { type Netns, openNetns } from "#linux";
import type { Ovs } from "#ovsdb";
import type { PodFacts, PodNic } from "./node/facts.ts";

/** One station of a packet on its way out of a Pod. */
export interface Hop {
  readonly name: string;
  /** Whether packets pass it; undefined where nobody could ask. */
  readonly ok: boolean | undefined;
  /** What was found there. */
  readonly detail: string;
}

/** A NIC as it is on the node now. */
export interface NicPath {
  readonly ifName: string;
  readonly network: string;
  readonly addresses: readonly {
    readonly address: string;
    readonly pool: string;
    readonly gateway: string | undefined;
  }[];
  /** From the Pod's interface to the gateway. */
  readonly hops: readonly Hop[];
  /** The Pod's own, as `ip route` and `ip rule` would show them. */
  readonly routes: readonly string[];
  readonly rules: readonly string[];
}

export interface PathSources {
  readonly host: Netns;
  readonly ovs: Pick<Ovs, "ports" | "state">;
  /** Whether a gateway answered the node's Pods; undefined where it was not asked. */
  readonly answered: (gateway: string) => boolean | undefined;
}

const mainTables = { 253: "default", 254: "main", 255: "local" } as const;

/** Looks at every NIC of a Pod. A Pod that has ended meanwhile has none. */
export function observePaths({ nics, netnsPath }: PodFacts, sources: PathSources): readonly NicPath[] {
  let netns: Netns;
  try {
    netns = openNetns(netnsPath);
  } catch {
    return [];
  }
  using pod = netns;
  return nics.map((nic) => ({
    ifName: nic.ifName,
    network: nic.network,
    addresses: nic.addresses.map(({ address, pool, gateway }) => ({ address: formatPrefix(address), pool, gateway })),
    hops: hopsOf(nic, pod, sources),
    ...routingOf(nic, pod),
  }));
}

function hopsOf(nic: PodNic, pod: Netns, { host, ovs, answered }: PathSources): readonly Hop[] {
  const hops: Hop[] = [linkHop(pod, nic.ifName)];
  for (const { address } of nic.addresses) {
    const present = pod.rtnl
      .addresses({ link: nic.ifName })
      .some((one) => formatPrefix(one.address) === formatPrefix(address));
    hops.push({
      name: formatPrefix(address),
      ok: present,
      detail: present ? "on the interface" : "not on the interface",
    });
  }
  const inUse = nic.hostLinks.filter((name) => host.rtnl.link(name) !== undefined);
  const ports = ovs.ports();
  for (const name of nic.bridge === undefined ? inUse : nic.hostLinks.filter((one) => ports.has(one))) {
    hops.push(linkHop(host, name));
  }
  if (nic.bridge !== undefined) hops.push(...switchHops(nic, { host, ovs }));
  for (const gateway of new Set(nic.addresses.flatMap((one) => one.gateway ?? []))) {
    const ok = answered(gateway);
    hops.push({
      name: `gateway ${gateway}`,
      ok,
      detail: ok === undefined ? "not asked" : ok ? "answers" : "silent",
    });
  }
  return hops;
}

function linkHop(netns: Netns, name: string): Hop {
  const link = netns.rtnl.link(name);
  if (link === undefined) return { name, ok: false, detail: "there is no such interface" };
  const { up, mtuBytes, mac = "" } = link;
  return { name, ok: up, detail: `${up ? "up" : "down"}, MTU ${mtuBytes} ${mac}`.trimEnd() };
}

/** The port, its bridge and the way out of it. */
function switchHops({ bridge = "", hostLinks }: PodNic, { host, ovs }: Omit<PathSources, "answered">): readonly Hop[] {
  if (ovs.state.kind === "disconnected")
    return [{ name: bridge, ok: false, detail: `Open vSwitch: ${ovs.state.error}` }];
  const ports = [...ovs.ports().values()]
    .filter((port) => port.bridge === bridge)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = ports.find(({ name }) => hostLinks.includes(name));
  const tags =
    own?.vlan.mode === "access" ? `VLAN ${own.vlan.tag}` : `trunk ${own?.vlan.ids.join(",") || "of all VLANs"}`;
  const works = own !== undefined && (own.ofport ?? 0) > 0;
  const uplinks = ports.filter(
    ({ owner, name, interfaceType }) => owner === undefined && name !== bridge && interfaceType !== "internal",
  );
  return [
    {
      name: `port of ${bridge}`,
      ok: works,
      detail:
        own === undefined
          ? "there is none"
          : works
            ? `${own.name}, ${tags}, port ${own.ofport}`
            : (own.error ?? "not forwarding"),
    },
    ...(uplinks.length === 0 ? [{ name: "uplink", ok: false, detail: `${bridge} has none` }] : []),
    ...uplinks.map(({ name }) => linkHop(host, name)),
  ];
}

function routingOf({ ifName }: PodNic, pod: Netns): Pick<NicPath, "routes" | "rules"> {
  const own = pod.rtnl.link(ifName)?.index;
  const families = [4, 6] as const;
  const routes = families
    .flatMap((family) => pod.rtnl.routes({ family, table: 0 }))
    .filter(({ dev, table }) => dev === own && table !== 255)
    .map(({ dst, gw, table }) => {
      const to = dst.bits === 0 ? "default" : formatPrefix(dst);
      return [to, gw && `via ${formatIp(gw)}`, `dev ${ifName}`, `table ${tableName(table)}`].filter(Boolean).join(" ");
    });
  const rules = families
    .flatMap((family) => pod.rtnl.rules(family))
    .filter(({ table }) => !(table in mainTables))
    .map(({ pref, from, to, fwmark, table }) =>
      [
        `${pref}:`,
        `from ${from ? formatPrefix(from) : "all"}`,
        to && `to ${formatPrefix(to)}`,
        fwmark === undefined ? "" : `fwmark ${fwmark}`,
        `lookup ${tableName(table)}`,
      ]
        .filter(Boolean)
        .join(" "),
    );
  return { routes, rules };
}

function tableName(table: number): string {
  return table in mainTables ? mainTables[table as keyof typeof mainTables] : String(table);
}
