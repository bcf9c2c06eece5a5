import { codeOf } from "#base";
import { type Netns, type VethPair, type VethSpec, writeSysctl } from "#linux";

/** A pair of links between the node and a Pod. */
export interface PairSpec {
  /** The node's end. */
  readonly name: string;
  /** @default a random one, as for the Pod's end */
  readonly mac?: string;
  readonly mtuBytes?: number;
  /** The node's end takes every packet, as the port of a switch does, which then has nothing to change. */
  readonly promiscuous?: boolean;
  readonly pod: {
    readonly name: string;
    readonly mac?: string;
    /**
     * Brings it up together with the node's end. It stays silent: it has no address, and the kernel generates none. If absent,
     * whoever configures it brings it up.
     */
    readonly up?: true;
  };
}

/** What the plugins of one ADD of an interface do for each other. */
export class Together {
  readonly #wanted: readonly PairSpec[];
  readonly #made = new Map<string, VethPair>();

  /** `wanted`: the pairs that later plugins will need (`Plugin.pairs`). */
  constructor(wanted: readonly PairSpec[] = []) {
    this.#wanted = wanted;
  }

  /** The pairs that do not exist yet: whoever makes a link makes them in the same send. */
  get wanted(): readonly PairSpec[] {
    return this.#wanted.filter(({ name }) => !this.#made.has(name));
  }

  made(pairs: readonly VethPair[]): void {
    for (const pair of pairs) this.#made.set(pair.name, pair);
  }

  /** The pair whose end on the node has this name, if it was made in this ADD: nothing hangs on it yet. */
  pair(name: string): VethPair | undefined {
    return this.#made.get(name);
  }
}

/**
 * Makes all pairs of a Pod in one message, and brings up the Pod's ends in one more. Every change of the node's links makes
 * vswitchd go through all of its ports and read all links and routes. Changes that come while it still handles the first one
 * cost it nothing more.
 *
 * The node's ends are up from the start, but without IPv6: it would add a route for each, and a Pod could give the node a
 * default route through it. Whoever needs IPv6 switches it on.
 *
 * All or none. Replaces a node's end that a killed agent has left behind. Throws LinuxError.
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

/** The undo of `makePairs`, whatever came of it. */
export function removePairs(host: Netns, specs: readonly PairSpec[]): Promise<void> {
  return host.rtnl.deleteLinksLater(specs.map(({ name }) => name));
}

function createPairs(host: Netns, pod: Netns, specs: readonly PairSpec[]): readonly VethPair[] {
  return bringUp(host, pod, specs, host.rtnl.createVeths(vethsOf(specs, pod)));
}

/** As the kernel is asked for them. */
export function vethsOf(specs: readonly PairSpec[], pod: Netns): readonly VethSpec[] {
  return specs.map(({ name, mac, mtuBytes, promiscuous, pod: { name: peer, mac: peerMac } }) => ({
    name,
    up: true,
    ...(mac === undefined ? {} : { mac }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    ...(promiscuous === undefined ? {} : { promiscuous }),
    peer: { name: peer, netns: pod, ...(peerMac === undefined ? {} : { mac: peerMac }) },
  }));
}

/** What comes when the links are there: no IPv6 on the node, then the Pod's ends. Returns the pairs. */
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

/** The setting below /proc/sys. */
export function disableIpv6(link: string): string {
  return `net/ipv6/conf/${link}/disable_ipv6`;
}
