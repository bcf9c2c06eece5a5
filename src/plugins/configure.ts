import type { CniResult } from "#cni";
import type { Family } from "#ip";
import { type Batch, mainTable, type Netns, readSysctl, type VethEnd, writeSysctl } from "#linux";
import { invalid } from "./decode.ts";
import { linkLocalAddress } from "./names.ts";

/** The smallest MTU of a link with IPv6 (RFC 8200 §5): below it the kernel removes IPv6 from the link. */
export const ipv6MtuMin = 1280;

/** What a Pod's interface is to have. */
export interface Configuration extends Pick<CniResult, "ips" | "routes"> {
  /** Set before the link comes up, so that its IPv6 link-local address follows from it. */
  readonly mac?: string | undefined;
  /** Neighbours learn of a MAC address that is changed later. */
  readonly arpNotify?: true;
}

/**
 * Gives a Pod's interface its MAC address, addresses and routes and brings it up, in one netlink batch. A route without a
 * gateway of its own goes by the gateway of the address of its family.
 *
 * Addresses are usable at once, without duplicate address detection: IPAM makes sure that no other Pod has them, and the
 * coordinator looks for other hosts that do. If there are addresses but none is IPv6, the kernel generates no link-local one
 * either: otherwise each port would get its multicast.
 *
 * A default route beside another interface's gets a metric: the kernel would refuse it otherwise (IPv4) or share the
 * traffic between both (IPv6). The first one stays in use until the coordinator gives each interface a table of its own.
 */
export function configureInterface(
  netns: Netns,
  link: Pick<VethEnd, "name" | "index">,
  configuration: Configuration,
): void {
  const { ips, mac, arpNotify } = configuration;
  configure(netns, link, configuration, (batch) => {
    if (ips.length > 0 && !hasFamily6(configuration)) batch.setLink(link.index, { addrGenModeNone: true });
    batch.setLink(link.index, {
      up: true,
      ...(mac !== undefined && { mac }),
      ...(arpNotify !== undefined && { arpNotify }),
    });
  });
}

/**
 * The same for an interface that is already up but silent (`PairSpec`). It stays up, so that nothing changes at its other end.
 * Its IPv6 link-local address is the one that the kernel would have generated.
 */
export function configureSilent(netns: Netns, link: VethEnd, configuration: Configuration): void {
  const { mac = link.mac } = configuration;
  configure(netns, link, configuration, (batch) => {
    if (mac !== link.mac) batch.setLink(link.index, { mac });
    if (!hasFamily6(configuration)) return;
    batch.addAddress(link.index, linkLocalAddress(mac), { nodad: true });
    batch.setLink(link.index, { addrGenModeNone: false });
  });
}

function configure(
  netns: Netns,
  link: Pick<VethEnd, "name" | "index">,
  configuration: Configuration,
  begin: (batch: Batch) => void,
): void {
  try {
    configureAll(netns, link, configuration, begin);
  } catch (error) {
    // Looked at only now: the kernel says no more than that an argument is invalid.
    const mtuBytes = hasFamily6(configuration) ? netns.rtnl.link(link.name)?.mtuBytes : undefined;
    if (mtuBytes === undefined || mtuBytes >= ipv6MtuMin) throw error;
    throw invalid("mtu", mtuBytes, `at least ${ipv6MtuMin} where Pods have IPv6 addresses`, error);
  }
}

function configureAll(
  netns: Netns,
  link: Pick<VethEnd, "name" | "index">,
  configuration: Configuration,
  begin: (batch: Batch) => void,
): void {
  const { ips, routes } = configuration;
  if (hasFamily6(configuration)) permitIpv6(netns, link.name);
  const gateways = new Map(
    ips
      .flatMap(({ address, gateway }) => (gateway === undefined ? [] : [[address.ip.family, gateway] as const]))
      .reverse(),
  );
  const beside = new Set(routes.filter(({ dst }) => dst.bits === 0).map(({ dst }) => dst.ip.family));
  for (const family of beside) if (!hasDefaultRoute(netns, family)) beside.delete(family);
  netns.rtnl.batch((batch) => {
    begin(batch);
    for (const { address } of ips) batch.addAddress(link.index, address, { nodad: true });
    for (const { dst, gw = gateways.get(dst.ip.family), table, priority, scope } of routes) {
      const scopeName = scopes.get(scope);
      const metric = priority ?? (dst.bits === 0 && beside.has(dst.ip.family) ? besideMetric + link.index : undefined);
      batch.addRoute(
        {
          dst,
          dev: link.index,
          ...(gw !== undefined && { gw }),
          ...(table !== undefined && { table }),
          ...(metric !== undefined && { metric }),
          ...(scopeName !== undefined && { scope: scopeName }),
        },
        { tolerate: ["EEXIST"] },
      );
    }
  });
}

function hasFamily6({ ips }: Configuration): boolean {
  return ips.some(({ address }) => address.ip.family === 6);
}

/** Behind what the kernel gives by itself (0 for IPv4, 1024 for IPv6). */
const besideMetric = 1024;

function hasDefaultRoute({ rtnl }: Netns, family: Family): boolean {
  return rtnl.routes({ family, table: mainTable }).some(({ dst }) => dst.bits === 0);
}

/** The numbers of a result's routes, by the kernel's names (rtnetlink(7)). */
const scopes = new Map<number | undefined, "global" | "site" | "link" | "host">([
  [0, "global"],
  [200, "site"],
  [253, "link"],
  [254, "host"],
]);

/** Runtimes may have switched IPv6 off in the namespace; addresses shall also outlive a link that goes down for a while. */
function permitIpv6(netns: Netns, link: string): void {
  for (const name of ["lo", link]) {
    const key = `net/ipv6/conf/${name}/disable_ipv6`;
    if (readSysctl(netns, key) === "1") writeSysctl(netns, key, 0);
  }
  writeSysctl(netns, `net/ipv6/conf/${link}/keep_addr_on_down`, 1);
}
