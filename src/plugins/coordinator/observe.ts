import type { Attachment } from "#cni";
import type { Family, Ip } from "#ip";
import { type Link, type Netns, type Route, readSysctl, type VethPair } from "#linux";
import { disableIpv6 } from "../pairs.ts";
import type { Settings } from "./config.ts";
import { replyMark } from "./connectivity.ts";
import { hostVethName } from "./plan.ts";
import type { ReplyMarks } from "./reply-marks.ts";
import { type Role, resolveRole, vethName } from "./role.ts";
import { type LinkState, type Lookup, type Observed, type RouteState, type Side, usableAddresses } from "./state.ts";

/** The namespaces of Pod and node, and what is known already. */
interface ObserveOptions {
  readonly host: Netns;
  readonly pod: Netns;
  readonly settings: Settings;
  readonly nodeAddresses: readonly Ip[];
  readonly marks: ReplyMarks;
  /** The Pod's pair, if this call has made it: it is up and has no addresses and routes yet. */
  readonly fresh?: VethPair | undefined;
}

/**
 * Reads what the plan needs: everything in the Pod, and on the node only what belongs to the link to the Pod, because the
 * node's tables may be long.
 *
 * @throws SpiderError `COORDINATOR_MODE_UNFIT` if the mode does not fit the interfaces that are there
 */
export function observe(
  { containerId, ifName }: Pick<Attachment, "containerId" | "ifName">,
  { host, pod, settings, nodeAddresses, marks, fresh }: ObserveOptions,
): Observed {
  const inside = observePod(pod, ifName, fresh !== undefined, settings);
  const own = usableAddresses(inside, ifName);
  const families = familiesOf(own);
  const role = resolveRole(inside, ifName, settings);
  return {
    containerId,
    ifName,
    pod: {
      ...inside,
      rpFilters: families.includes(4) ? readRpFilters(pod, [role.podLink, ifName], inside.links) : new Map(),
      ipv6Off: families.includes(6) && readSysctl(pod, "net/ipv6/conf/default/disable_ipv6") === "1",
      replyMarks: fresh === undefined && hasVeth(inside) && role.first && marks.has(pod, vethName, replyMark),
    },
    host:
      fresh === undefined
        ? observeHost(host, hostLink(host, containerId, role, inside.links), families, settings)
        : {
            ...nothing,
            links: [{ ...fresh, up: true, flags: 0, txQueueLen: 0, peerIndex: fresh.peer.index }],
            ipv6Off: true,
          },
    nodeAddresses,
    lookups: own.flatMap((ip) => lookUp(host, ip) ?? []),
  };
}

/** The node's interface that leads to the Pod. */
export function hostLink(
  host: Netns,
  containerId: string,
  { mode, podLink }: Pick<Role, "mode" | "podLink">,
  links: readonly LinkState[],
): Link | undefined {
  if (mode === "underlay") return host.rtnl.link(hostVethName(containerId));
  const { peerIndex } = links.find(({ name }) => name === podLink) ?? {};
  return peerIndex === undefined ? undefined : host.rtnl.link(peerIndex);
}

/** Reads the Pod. While there is no pair, or a fresh one, nothing of ours can be there: links and addresses suffice. */
function observePod(pod: Netns, ifName: string, isFresh: boolean, { firstNic }: Settings): Side {
  const links = pod.rtnl.links();
  const namesOf = new Map(links.map(({ index, name }) => [index, name]));
  const addresses = pod.rtnl.addresses().map(({ link, address }) => ({ dev: nameOf(namesOf, link), address }));
  const bare = { ...nothing, links, addresses };
  if (isFresh || (ifName === firstNic && !hasVeth(bare))) return bare;
  const families = familiesOf(usableAddresses(bare, ifName));
  return {
    links,
    addresses,
    routes: families.flatMap((family) => {
      return pod.rtnl.routes({ family, table: 0 }).flatMap((route) => routeStates(route, namesOf));
    }),
    rules: families.flatMap((family) => pod.rtnl.rules(family)),
    neighbours: families.flatMap((family) => readNeighbours(pod, family, namesOf)),
  };
}

const nothing: Side = { links: [], addresses: [], routes: [], rules: [], neighbours: [] };

function hasVeth({ links }: Side): boolean {
  return links.some(({ name }) => name === vethName);
}

function familiesOf(ips: readonly Ip[]): readonly Family[] {
  return ([4, 6] as const).filter((family) => ips.some((ip) => ip.family === family));
}

function observeHost(
  host: Netns,
  link: Link | undefined,
  families: readonly Family[],
  { hostRuleTable: table }: Settings,
): Observed["host"] {
  if (link === undefined) return { ...nothing, ipv6Off: true };
  const namesOf = new Map([[link.index, link.name]]);
  return {
    links: [link],
    addresses: [],
    routes: families.flatMap((family) => {
      return host.rtnl.routes({ family, table, link: link.index }).flatMap((route) => routeStates(route, namesOf));
    }),
    rules: families.flatMap((family) => host.rtnl.rules(family)),
    neighbours: families.flatMap((family) => readNeighbours(host, family, namesOf, link.index)),
    ipv6Off: families.includes(6) && readSysctl(host, disableIpv6(link.name)) === "1",
  };
}

function readNeighbours({ rtnl }: Netns, family: Family, namesOf: ReadonlyMap<number, string>, link?: number) {
  return rtnl
    .neighbours({ family, ...(link !== undefined && { link }) })
    .filter(({ permanent }) => permanent)
    .map(({ dev, ip, mac }) => ({ dev: nameOf(namesOf, dev), ip, mac }));
}

/** Unicast routes of the tables that matter. A multipath route becomes one route for each next hop. */
function routeStates(
  { dst, gw, dev, src, table, type, onlink, nextHops }: Route,
  namesOf: ReadonlyMap<number, string>,
) {
  if (type !== unicast) return [];
  const hops = nextHops.length > 0 ? nextHops : dev === undefined ? [] : [{ gw, dev }];
  return hops.map((hop): RouteState => {
    return { dst, dev: nameOf(namesOf, hop.dev), gw: hop.gw, src, table, ...(onlink && { onlink }) };
  });
}

/** The name of a link; one that appeared between two dumps is not known yet. */
function nameOf(namesOf: ReadonlyMap<number, string>, index: number): string {
  return namesOf.get(index) ?? `#${index}`;
}

/** RTN_UNICAST (rtnetlink(7)). */
const unicast = 1;

function readRpFilters({ rtnl }: Netns, names: readonly string[], links: readonly LinkState[]) {
  const refs = [
    ["all", "all"],
    ["default", "default"],
    ...links.filter(({ name }) => names.includes(name)).map(({ name, index }) => [name, index] as const),
  ] as const;
  const settings = rtnl.netconfs(
    refs.map(([, ref]) => ref),
    4,
  );
  return new Map(
    refs.flatMap(([name], at) => {
      const value = settings[at]?.rpFilter;
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

function lookUp(host: Netns, ip: Ip): Lookup | undefined {
  const answer = host.rtnl.routeGet(ip);
  if (answer === undefined) return undefined;
  return { ip, src: answer.src, dev: answer.dev, onLink: answer.gw === undefined };
}
