import { formatIp, formatPrefix, hostPrefix, type Ip, type Prefix, samePrefix } from "#ip";
import type { Disagreement, Fact } from "./disagreement.ts";

/** All objects of one kind, and when they were read. */
interface Seen<T> {
  readonly items: readonly T[];
  readonly readAt: Date;
}

/** A sandbox that the agent has a record of. */
export interface SandboxFact {
  /** `default/web-0`, or the container's ID. */
  readonly pod: string;
  readonly containerId: string;
  readonly netnsPath: string;
  /** Whether the record's network namespace exists, since the node's last start. */
  readonly isThere: boolean;
  /** Whether its ADD has answered and it was not cut off. */
  readonly isAttached: boolean;
  /** The addresses in the answer of its ADD. */
  readonly addresses: readonly Ip[];
  /** Names of its interfaces on the host that must be ports of Open vSwitch. */
  readonly ports: readonly string[];
  /** Names of all its interfaces on the host. */
  readonly hostLinks: readonly string[];
}

/** What is compared on one node. */
export interface FaultFacts {
  readonly sandboxes: Seen<SandboxFact>;
  /** The ports that this product made; undefined if Open vSwitch does not answer. */
  readonly ports:
    | Seen<{ readonly name: string; readonly netnsPath: string; readonly hasNamespace: boolean }>
    | undefined;
  /** Names of the host's network devices. */
  readonly links: Seen<string>;
  /** Routes in the tables that the node uses for Pods. `toPod`: by one end of a veth pair, which goes with its other end. */
  readonly routes: Seen<{
    readonly dst: Prefix;
    readonly dev: string;
    readonly table: number;
    readonly toPod: boolean;
  }>;
  /** Addresses of the interfaces inside the sandboxes' network namespaces. */
  readonly inside: Seen<{ readonly containerId: string; readonly ip: Ip; readonly nic: string }>;
}

/** Compares the facts of a node with each other, and returns every contradiction. Pure. */
export function nodeFaults(facts: FaultFacts): readonly Disagreement[] {
  return [
    ...portsWithoutNamespace(facts),
    ...linksWithoutPort(facts),
    ...addressesOfTwo(facts),
    ...staleHostRoutes(facts),
  ];
}

/** A port whose namespace exists is no fault: another plugin, which this one replaces, marks its ports in the same way. */
function portsWithoutNamespace({ ports, sandboxes }: FaultFacts): readonly Disagreement[] {
  if (ports === undefined) return [];
  const there = new Set(sandboxes.items.filter(({ isThere }) => isThere).flatMap((one) => one.ports));
  return ports.items
    .filter(({ name, hasNamespace }) => !hasNamespace && !there.has(name))
    .map(({ name, netnsPath }) => ({
      kind: "port-without-namespace",
      object: `port ${name}`,
      key: `port-without-namespace ${name}`,
      target: { kind: "port", name },
      one: fact(`Open vSwitch has it for network namespace ${netnsPath}`, ports),
      other: fact("there is no such namespace", ports),
    }));
}

function linksWithoutPort({ sandboxes, ports, links }: FaultFacts): readonly Disagreement[] {
  if (ports === undefined) return [];
  const devices = new Set(links.items);
  const named = new Set(ports.items.map(({ name }) => name));
  return sandboxes.items
    .filter(({ isThere, isAttached }) => isThere && isAttached)
    .flatMap(({ pod, ports: wanted }) =>
      wanted
        .filter((name) => devices.has(name) && !named.has(name))
        .map((name) => ({
          kind: "veth-without-port" as const,
          object: pod,
          key: `veth-without-port ${name}`,
          target: { kind: "host-links" as const },
          one: fact(`the host has ${name}, the end of its NIC`, links),
          other: fact("Open vSwitch has no such port", ports),
        })),
    );
}

/** Concerns only addresses that this product gave: a Pod may add other addresses to its own interfaces. */
function addressesOfTwo({ sandboxes, inside }: FaultFacts): readonly Disagreement[] {
  const live = sandboxes.items.filter(({ isThere, isAttached }) => isThere && isAttached);
  const byId = new Map(sandboxes.items.map((one) => [one.containerId, one]));
  const byAddress = Map.groupBy(inside.items, ({ ip }) => formatIp(ip));
  return live.flatMap(({ pod, containerId, addresses }) =>
    addresses.flatMap((ip) => {
      const text = formatIp(ip);
      return (byAddress.get(text) ?? [])
        .filter((one) => one.containerId !== containerId)
        .filter((one) => byId.get(one.containerId)?.isAttached !== false)
        .map((one): Disagreement => {
          const second = byId.get(one.containerId)?.pod ?? one.containerId;
          const containerIds = [containerId, one.containerId].sort();
          return {
            kind: "one-address-twice",
            object: text,
            key: `one-address-twice ${text} ${containerIds.join(" ")}`,
            target: { kind: "sandboxes", containerIds },
            one: fact(`it was given to Pod ${pod}`, sandboxes),
            other: fact(`${one.nic} of Pod ${second} has it, too`, inside),
          };
        })
        .filter(({ key }, at, all) => all.findIndex((other) => other.key === key) === at);
    }),
  );
}

/**
 * During an ADD, a sandbox has routes before it has a result. So routes by its own interfaces are no fault. Nor are those to Pods
 * without record: another plugin, which this one replaces, has its routes in the same table.
 */
function staleHostRoutes({ sandboxes, routes }: FaultFacts): readonly Disagreement[] {
  const there = sandboxes.items.filter(({ isThere }) => isThere);
  const given = new Set(there.flatMap(({ addresses }) => addresses.map(formatIp)));
  const busy = new Set(there.filter(({ isAttached }) => !isAttached).flatMap(({ hostLinks }) => hostLinks));
  const ours = new Set(sandboxes.items.flatMap(({ hostLinks }) => hostLinks));
  return routes.items
    .filter(({ dst, dev }) => samePrefix(dst, hostPrefix(dst.ip)) && !given.has(formatIp(dst.ip)) && !busy.has(dev))
    .filter(({ dev, toPod }) => !toPod || ours.has(dev))
    .map(({ dst, dev, table }) => ({
      kind: "stale-host-route",
      object: `route ${formatPrefix(dst)}`,
      key: `stale-host-route ${formatPrefix(dst)} ${dev} ${table}`,
      target: { kind: "route", dst: formatPrefix(dst), dev, table },
      one: fact(`table ${table} leads to it by ${dev}`, routes),
      other: fact("no Pod of this node has the address", sandboxes),
    }));
}

function fact(text: string, { readAt }: { readonly readAt: Date }): Fact {
  return { text, readAt };
}
