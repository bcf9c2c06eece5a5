import { hash } from "node:crypto";
import { SpiderError } from "#base";
import { type Family, hostPrefix, type Ip, ipToBytes, sameIp, samePrefix } from "#ip";
import { formatMac } from "#linux";
import { ipv6MtuMin } from "../configure.ts";
import { invalid } from "../decode.ts";
import { disableIpv6, type PairSpec } from "../pairs.ts";
import type { Settings } from "./config.ts";
import { type Ends, hostConnectivity, isUnderlayFirst, missing, podConnectivity, type Wanted } from "./connectivity.ts";
import type { Change, Operations, Setting } from "./operations.ts";
import { keepsDefault, planPodRoutes, tableOf } from "./pod-routes.ts";
import { type Role, resolveRole, vethName } from "./role.ts";
import { type Observed, type Side, usableAddresses } from "./state.ts";

/** The name of the host's end of an underlay Pod's pair: it follows from the container ID, so that DEL needs no record. */
export function hostVethName(containerId: string): string {
  return `veth${containerId.slice(0, 11)}`;
}

/** The pair of an underlay Pod. Its MAC addresses follow from the container ID, too. */
export function pairOf(containerId: string, { vethMtuBytes }: Pick<Settings, "vethMtuBytes">) {
  return {
    name: hostVethName(containerId),
    mac: vethMac(containerId, "host"),
    mtuBytes: vethMtuBytes,
    pod: { name: vethName, mac: vethMac(containerId, "pod"), up: true },
  } satisfies PairSpec;
}

/**
 * Plans what is missing until the Pod's interface is as the settings say: the wanted state less the observed one. The plan is
 * empty if everything is in place. Pure.
 *
 * @throws SpiderError `COORDINATOR_…` if the interfaces that are there do not fit, CniError 7 for a `vethMTU` that is too
 * small for IPv6
 */
export function planCoordinator(observed: Observed, settings: Settings): Operations {
  const { pod, host, ifName } = observed;
  const role = resolveRole(pod, ifName, settings);
  const own = usableAddresses(pod, ifName);
  if (own.length === 0) {
    throw new SpiderError("COORDINATOR_NO_ADDRESS", `no usable IP addresses on "${ifName}"`, {
      details: {
        fix: "give the NIC addresses, or set enableCoordinator: false where its network has none (disableIPAM)",
      },
    });
  }
  const families = ([4, 6] as const).filter((family) => own.some((ip) => ip.family === family));
  if (families.includes(6) && isUnderlayFirst(role) && settings.vethMtuBytes < ipv6MtuMin) {
    throw invalid("vethMTU", settings.vethMtuBytes, `at least ${ipv6MtuMin} where Pods have IPv6 addresses`);
  }
  const { veth, ends } = planVeth(observed, role, settings);
  const nodes = nodeAddressesOf(observed, ends.hostIndex).filter(({ family }) => families.includes(family));
  const source = usableAddresses(pod, settings.firstNic).find(({ family }) => family === 4);
  const isTuned = settings.tunePodRoutes && !isUnderlayFirst(role);
  // The node's routes to the Pod are made last, so that their presence means that an earlier call made everything.
  const isMade = own.every((ip) => host.routes.some(({ dst }) => samePrefix(dst, hostPrefix(ip))));
  const { podDefaultRouteNic } = settings;
  const routesOf = (family: Family) => ({ ifName, role, family, podDefaultRouteNic, isMade });
  const wanted: Wanted = {
    observed,
    settings,
    role,
    own,
    families,
    ends,
    nodes,
    source,
    ownTable: (family) => (isTuned ? tableOf(pod, routesOf(family)) : undefined),
    keepsMain: (family) => isTuned && keepsDefault(pod, routesOf(family)),
  };
  // Not for the first interface of an underlay Pod.
  const podRoutes = isTuned ? families.flatMap((family) => planPodRoutes(pod, routesOf(family))) : [];
  return {
    veth,
    podSettings: podSettings(wanted),
    pod: [...ownRpFilters(wanted), ...podLinks(wanted), ...missing(pod, podConnectivity(wanted)), ...podRoutes],
    replyMarks: isUnderlayFirst(role) && !pod.replyMarks,
    hostSettings: hostSettings(wanted),
    host: [...linkUp(host, ends.hostName), ...staleNeighbours(wanted), ...missing(host, hostConnectivity(wanted))],
    announce: newMac(wanted) === undefined ? [] : own,
  };
}

function planVeth(
  { pod, host, containerId }: Observed,
  { mode, first, podLink }: Role,
  settings: Settings,
): { readonly veth: PairSpec | undefined; readonly ends: Ends } {
  const inside = pod.links.find(({ name }) => name === podLink);
  if (inside === undefined && mode === "underlay" && first) {
    const veth = pairOf(containerId, settings);
    const { name: hostName, mac: hostMac, pod: inPod } = veth;
    return { veth, ends: { hostName, hostIndex: undefined, hostMac, podMac: inPod.mac } };
  }
  const outside = host.links.find(({ index }) => index === inside?.peerIndex);
  if (inside?.mac !== undefined && outside?.mac !== undefined) {
    const ends = { hostName: outside.name, hostIndex: outside.index, hostMac: outside.mac, podMac: inside.mac };
    return { veth: undefined, ends };
  }
  throw new SpiderError("COORDINATOR_LINK_LOST", "the container's interface to the node has no other end on the node", {
    details: {
      interface: podLink,
      exists: inside !== undefined,
      fix: "delete the Pod: what replaces it gets a new one",
    },
  });
}

/** A MAC address by hash: the same in every plan for this container, unicast, locally administered. */
function vethMac(containerId: string, end: "host" | "pod"): string {
  const bytes = hash("sha256", `${containerId}\0${end}`, "buffer");
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return formatMac(bytes);
}

/**
 * The node's addresses in the order of preference; the first of a family becomes the Pod's gateway to the node. First come
 * those from which the node itself would reach the Pod, last those of interfaces for other purposes.
 */
function nodeAddressesOf({ nodeAddresses, lookups }: Observed, hostIndex: number | undefined): readonly Ip[] {
  // A route through the pair says nothing about which address is best.
  const sources = lookups.filter(({ dev }) => dev !== hostIndex).flatMap(({ src }) => (src === undefined ? [] : [src]));
  const isListed = (ip: Ip) => nodeAddresses.some((one) => sameIp(one, ip));
  const ordered = [...sources.filter(isListed), ...nodeAddresses, ...sources];
  return ordered.filter((ip, at) => ordered.findIndex((one) => sameIp(one, ip)) === at);
}

function podSettings({ observed: { pod }, settings, families }: Wanted): readonly Setting[] {
  const { podRpFilter: wanted } = settings;
  const needed: Setting[] = [];
  if (families.includes(6) && pod.ipv6Off) needed.push({ key: "net/ipv6/conf/all/disable_ipv6", value: 0 });
  if (wanted < 0 || !families.includes(4)) return needed;
  if (pod.rpFilters.get("all") !== wanted) needed.push({ key: "net/ipv4/conf/all/rp_filter", value: wanted });
  return needed;
}

/** The node's end is made without IPv6. If the Pod has IPv6, it is enabled, and the Pod's router advertisements are ignored. */
function hostSettings({ observed: { host }, role, families, ends: { hostName } }: Wanted): readonly Setting[] {
  if (role.mode === "overlay" || !families.includes(6) || !host.ipv6Off) return [];
  return [
    { key: `net/ipv6/conf/${hostName}/accept_ra`, value: 0 },
    // 1: no link-local address. None is needed, because both sides know each other's MAC address.
    { key: `net/ipv6/conf/${hostName}/addr_gen_mode`, value: 1 },
    { key: disableIpv6(hostName), value: 0 },
  ];
}

/** rp_filter of each interface: the kernel uses the greater of this and that of `all`. */
function ownRpFilters({ observed: { pod, ifName }, settings, role, families }: Wanted): readonly Change[] {
  const { podRpFilter: wanted } = settings;
  if (wanted < 0 || !families.includes(4)) return [];
  return [role.podLink, ifName]
    .filter((name) => (pod.rpFilters.get(name) ?? pod.rpFilters.get("default") ?? 0) > wanted)
    .map((name): Change => ({ kind: "link", name, change: { rpFilter: wanted } }));
}

function podLinks(wanted: Wanted): readonly Change[] {
  const { observed, settings, role, families } = wanted;
  const { pod, ifName } = observed;
  const link = pod.links.find(({ name }) => name === ifName);
  const mac = newMac(wanted);
  const change = {
    ...(link?.up !== true && { up: true }),
    ...(mac !== undefined && { mac }),
    ...(settings.txQueueLen > 0 && link?.txQueueLen !== settings.txQueueLen && { txQueueLen: settings.txQueueLen }),
  };
  const changes: Change[] = Object.keys(change).length === 0 ? [] : [{ kind: "link", name: ifName, change }];
  changes.push(...linkUp(pod, role.podLink));
  const { vethLinkAddress } = settings;
  if (vethLinkAddress === undefined || role.mode === "overlay" || !role.first || !families.includes(4)) return changes;
  const address = hostPrefix(vethLinkAddress);
  const present = pod.addresses.some((one) => one.dev === vethName && samePrefix(one.address, address));
  if (!present) changes.push({ kind: "address", dev: vethName, address });
  return changes;
}

/** The end of a pair that exists but is down. A new one is up already. */
function linkUp({ links }: Side, name: string): readonly Change[] {
  return links.some((link) => link.name === name && !link.up) ? [{ kind: "link", name, change: { up: true } }] : [];
}

/**
 * The MAC address that the interface shall have: the prefix and the (last) four bytes of its address; undefined if it has it
 * already. The prefix may be set for the whole cluster, so it is skipped for ipvlan interfaces, whose MAC address is their
 * parent's and cannot change.
 */
function newMac({ observed: { pod, ifName }, settings: { podMacPrefix }, own }: Wanted): string | undefined {
  const [first] = own;
  if (podMacPrefix === undefined || first === undefined) return undefined;
  const tail = Array.from(ipToBytes(first).subarray(-4), (byte) => byte.toString(16).padStart(2, "0"));
  const mac = [podMacPrefix, ...tail].join(":");
  const link = pod.links.find(({ name }) => name === ifName);
  return link?.mac === mac || link?.kind === "ipvlan" ? undefined : mac;
}

/** The node's neighbour entries of earlier holders of the addresses. They would be used again after the Pod's end. */
function staleNeighbours({ observed: { lookups }, ends: { hostIndex } }: Wanted): readonly Change[] {
  return lookups.flatMap(({ ip, dev, onLink }): readonly Change[] =>
    dev === undefined || dev === hostIndex || !onLink ? [] : [{ kind: "dropNeighbour", dev, ip }],
  );
}
