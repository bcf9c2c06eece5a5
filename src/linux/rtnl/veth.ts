import { randomMac } from "../mac.ts";
import type { Reply, Request } from "../netlink/channel.ts";
import { createFlags, decodeLink, encodeGetLink, encodeVeth } from "./link.ts";
import { types } from "./request.ts";
import type { VethPair, VethSpec } from "./types.ts";

/** A pair to be made, with the MAC addresses of both ends. */
export interface WantedVeth extends VethSpec {
  readonly mac: string;
  readonly peerMac: string;
}

/** A pair that the kernel has made, with the spec that it was made by. */
export interface MadeVeth {
  readonly spec: VethSpec;
  readonly pair: VethPair;
}

/** The pairs, with a random MAC address for each end that has none. */
export function wantedVeths(specs: readonly VethSpec[]): readonly WantedVeth[] {
  return specs.map((spec) => ({ ...spec, mac: spec.mac ?? randomMac(), peerMac: spec.peer.mac ?? randomMac() }));
}

/** Two requests for each pair: one makes it, one reads it. */
export function vethRequests(wanted: readonly WantedVeth[]): readonly Request[] {
  return wanted.flatMap((spec): Request[] => [
    {
      type: types.newLink,
      flags: createFlags,
      body: encodeVeth(spec),
      attempted: () => `create veth ${spec.name}`,
    },
    {
      type: types.getLink,
      flags: 0,
      body: encodeGetLink(spec.name),
      attempted: () => `find link ${spec.name}`,
      asks: true,
    },
  ]);
}

/** The pairs that were made, read from the replies to `vethRequests`. */
export function madeVeths(wanted: readonly WantedVeth[], replies: readonly Reply[]): readonly MadeVeth[] {
  return wanted.flatMap((spec, at) => {
    const body = replies[2 * at]?.error === undefined ? replies[2 * at + 1]?.bodies[0] : undefined;
    if (body === undefined) return [];
    const { index, peerIndex = 0 } = decodeLink(body);
    const peer = { name: spec.peer.name, index: peerIndex, mac: spec.peerMac };
    return [{ spec, pair: { name: spec.name, index, mac: spec.mac, peer } }];
  });
}
