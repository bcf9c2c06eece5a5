import { codeOf } from "#base";
import { type Netns, type VethPair, type VethSpec, writeSysctl } from "#linux";

/** A pair of links between the node and a Pod. */
export interface PairSpec {
  /** The node's end. */
  readonly name: string;
  /** @default a random one, as for the Pod's end */
  readonly mac?: string;
  readonly mtuBytes?: number;
  /** Makes the node's end promiscuous from the start, as a switch needs its ports: otherwise it would change the link later. */
  readonly promiscuous?: boolean;
  readonly pod: {
    readonly name: string;
    readonly mac?: string;
    /**
     * Brings the Pod's end up together with the node's. It stays silent, because it has no address and the kernel generates
     * none. If absent, it comes up when it is configured.
     */
    readonly up?: true;
  };
}

/** Lets the first plugin of a chain make the pairs that later ones need, in the same message to the kernel. */
export class Together {
  readonly #wanted: readonly PairSpec[];
  readonly #made = new Map<string, VethPair>();

  /** `wanted`: the pairs that later plugins will need (`Plugin.pairs`). */
  constructor(wanted: readonly PairSpec[] = []) {
    this.#wanted = wanted;
  }

  /** The pairs that do not exist yet. A plugin that makes a link makes these along with it. */
  get wanted(): readonly PairSpec[] {
    return this.#wanted.filter(({ name }) => !this.#made.has(name));
  }

  made(pairs: readonly VethPair[]): void {
    for (const pair of pairs) this.#made.set(pair.name, pair);
  }

  /** The pair whose end on the node has this name, if this ADD has made it: then it has no addresses and routes yet. */
  pair(name: string): VethPair | undefined {
    return this.#made.get(name);
  }
}

/**
 * Makes all pairs of a Pod in one message, and brings up the Pod's ends in one more. The reason is vswitchd, which goes through
 * all ports, links and routes after a change of the node's links: changes that come while it does so cost nothing more.
 *
 * The node's ends are up from the start, but without IPv6: the kernel would add a route for each, and a Pod could give the node
 * a default route by router advertisements. A plugin that needs IPv6 enables it.
 *
 * Makes all pairs or none. Replaces links of these names, which a killed agent has left behind. Throws LinuxError.
 */
export async function makePairs(host: Netns, pod: Netns, specs: readonly PairSpec[]): Promise<readonly VethPair[]> {
  if (specs.length === 0) return [];
  try {
    return createPairs(host, pod, specs);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    await removePairs(host, specs);
    return createPairs(host, pod, specs);
  }
}

/** The undo of {@link makePairs}, whether it has succeeded or not. */
export function removePairs(host: Netns, specs: readonly PairSpec[]): Promise<void> {
  return host.rtnl.deleteLinksLater(specs.map(({ name }) => name));
}

function createPairs(host: Netns, pod: Netns, specs: readonly PairSpec[]): readonly VethPair[] {
  return bringUp(host, pod, specs, host.rtnl.createVeths(vethsOf(specs, pod)));
}

/** The pairs in the form in which the kernel is asked for them. */
export function vethsOf(specs: readonly PairSpec[], pod: Netns): readonly VethSpec[] {
  return specs.map(({ name, mac, mtuBytes, promiscuous, pod: { name: peer, mac: peerMac } }) => ({
    name,
    up: true,
    ...(mac !== undefined && { mac }),
    ...(mtuBytes !== undefined && { mtuBytes }),
    ...(promiscuous !== undefined && { promiscuous }),
    peer: { name: peer, netns: pod, ...(peerMac !== undefined && { mac: peerMac }) },
  }));
}

/** The second half of {@link makePairs}: disables IPv6 on the node's ends, then brings up the Pod's. Returns the pairs. */
export function bringUp(
  host: Netns,
  pod: Netns,
  specs: readonly PairSpec[],
  pairs: readonly VethPair[],
): readonly VethPair[] {
  for (const { name } of pairs) writeSysctl(host, disableIpv6(name), 1);
  pod.rtnl.batch((batch) => {
    for (const [at, { peer }] of pairs.entries()) {
      if (specs[at]?.pod.up) batch.setLink(peer.index, { addrGenModeNone: true, up: true });
    }
  });
  return pairs;
}

/** The name of the setting, below /proc/sys, that disables IPv6 on a link. */
export function disableIpv6(link: string): string {
  return `net/ipv6/conf/${link}/disable_ipv6`;
}
