import { LinuxError } from "./errors.ts";
import { eventFilter } from "./event-filter.ts";
import { libc } from "./libc.ts";
import { openSubscription, protocols, receiveReady } from "./netlink/channel.ts";
import { decodeMessages, type Message } from "./netlink/message.ts";
import type { Netns } from "./netns.ts";
import { poller } from "./poller.ts";
import { type Address, decodeAddress } from "./rtnl/address.ts";
import { decodeLink } from "./rtnl/link.ts";
import { decodeNeighbour, type Neighbour } from "./rtnl/neighbour.ts";
import { types } from "./rtnl/request.ts";
import { decodeRoute, type Route } from "./rtnl/route.ts";
import { decodeRule, type Rule } from "./rtnl/rule.ts";
import type { Link } from "./rtnl/types.ts";

/** What a monitor can report. */
export type NetworkTopic = keyof typeof topicsKnown;

/** What changed in a namespace. A change of something that exists is `new` too. */
export type NetworkEvent =
  | { readonly kind: "link"; readonly action: Action; readonly link: Link }
  | { readonly kind: "address"; readonly action: Action; readonly address: Address }
  | { readonly kind: "route"; readonly action: Action; readonly route: Route }
  | { readonly kind: "rule"; readonly action: Action; readonly rule: Rule }
  | { readonly kind: "neighbour"; readonly action: Action; readonly neighbour: Neighbour }
  /** The kernel dropped events because they were read too slowly: list again. */
  | { readonly kind: "overrun" };
type Action = "new" | "delete";

/** What a topic takes: multicast groups of <linux/rtnetlink.h>, IPv4's and IPv6's, and types of messages. */
const topicsKnown = {
  links: { groups: [1], passing: [types.newLink, types.deleteLink] },
  /** What is there and down, in particular what goes down. */
  downLinks: { groups: [1], passing: [] },
  addresses: { groups: [5, 9], passing: [types.newAddress, types.deleteAddress] },
  routes: { groups: [7, 11], passing: [types.newRoute, types.deleteRoute] },
  deletedRoutes: { groups: [7, 11], passing: [types.deleteRoute] },
  rules: { groups: [8, 19], passing: [types.newRule, types.deleteRule] },
  deletedRules: { groups: [8, 19], passing: [types.deleteRule] },
  neighbours: { groups: [3], passing: [types.newNeighbour, types.deleteNeighbour] },
} as const;

/** <asm-generic/socket.h> */
const solSocket = 1;
const receiveBufferForce = 33;
/** Of the kernel's queue, used while events wait: a burst of 250 Pods is told in thousands, and what overflows is an overrun. */
const queueBytes = 4 << 20;
/** The largest notification (a link with all its attributes) is a few KB. */
const receiveBytes = 65_536;

/**
 * Changes in a namespace as they happen. Subscribed when this returns, so that a list made afterwards misses nothing. What
 * is not asked for is dropped in the kernel: nothing wakes up for it.
 * Ends, and closes its socket, when the signal aborts or the reader stops. The kernel's socket buffer is the only queue;
 * one reader.
 */
export function monitor(
  netns: Netns,
  { topics, signal }: { readonly topics: readonly NetworkTopic[]; readonly signal: AbortSignal },
): AsyncIterable<NetworkEvent> {
  signal.throwIfAborted();
  const taken = topics.map((topic) => topicsKnown[topic]);
  const mask = taken.flatMap(({ groups }) => groups).reduce((bits, group) => bits | (1 << (group - 1)), 0);
  const passing = taken.flatMap((topic) => topic.passing);
  const filter = eventFilter(passing, { downLinks: topics.includes("downLinks") });
  const fd = netns.enter(() => openSubscription(protocols.route, mask >>> 0));
  // Not everything that may come before that is dropped: a reader looks at what it gets.
  libc.attachFilter(fd, filter);
  libc.setsockopt(fd, solSocket, receiveBufferForce, Buffer.from(Uint32Array.of(queueBytes).buffer));
  const close = () => {
    signal.removeEventListener("abort", close);
    libc.close(fd);
  };
  signal.addEventListener("abort", close, { once: true });
  return { [Symbol.asyncIterator]: () => read(fd, signal, close) };
}

async function* read(
  fd: number,
  signal: AbortSignal,
  close: () => void,
): AsyncGenerator<NetworkEvent, void, undefined> {
  const buffer = new Uint8Array(new ArrayBuffer(receiveBytes));
  try {
    while (!signal.aborted) {
      const events = receive(fd, buffer);
      for (const event of events) {
        yield event;
        if (signal.aborted) return;
      }
      if (events.length === 0) await poller.readable(fd, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    if (!signal.aborted) close();
  }
}

/** The events of the next datagrams that have any; none if nothing waits. */
function receive(fd: number, buffer: Uint8Array): readonly NetworkEvent[] {
  for (;;) {
    try {
      const datagram = receiveReady(fd, buffer);
      if (datagram === undefined) return [];
      if (datagram.senderPort !== 0) continue;
      const events = decodeMessages(datagram.bytes, datagram.length).map(decodeEvent);
      const known = events.filter((event) => event !== undefined);
      if (known.length > 0) return known;
    } catch (error) {
      if (error instanceof LinuxError && error.code === "ENOBUFS") return [{ kind: "overrun" }];
      throw error;
    }
  }
}

const deletions: readonly number[] = [
  types.deleteLink,
  types.deleteAddress,
  types.deleteRoute,
  types.deleteRule,
  types.deleteNeighbour,
];

function decodeEvent({ type, body }: Message): NetworkEvent | undefined {
  const action = deletions.includes(type) ? "delete" : "new";
  switch (type) {
    case types.newLink:
    case types.deleteLink:
      // A bridge reports its ports as links of family AF_BRIDGE, without most attributes: not the link itself.
      return body[0] === 0 ? { kind: "link", action, link: decodeLink(body) } : undefined;
    case types.newAddress:
    case types.deleteAddress: {
      const address = decodeAddress(body);
      return address && { kind: "address", action, address };
    }
    case types.newRoute:
    case types.deleteRoute: {
      const route = decodeRoute(body);
      return route && { kind: "route", action, route };
    }
    case types.newRule:
    case types.deleteRule: {
      const rule = decodeRule(body);
      return rule && { kind: "rule", action, rule };
    }
    case types.newNeighbour:
    case types.deleteNeighbour: {
      const neighbour = decodeNeighbour(body);
      return neighbour && { kind: "neighbour", action, neighbour };
    }
    default:
      return undefined;
  }
}
