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

/** The requests that make the pairs. */
export function vethRequests(wanted: readonly WantedVeth[]): readonly Request[] {
  return wanted.map((spec) => ({
    type: types.newLink,
    flags: createFlags,
    body: encodeVeth(spec),
    attempted: () => `create veth ${spec.name}`,
  }));
}

/**
 * The request that reads a pair that was just made, in the namespace of its peer. It asks for the peer, which is down: asked for an
 * end that is up and has no carrier yet, the kernel waits until no processor sends by it, with a busy one for up to 40 ms.
 */
export function peerRequest({ peer }: VethSpec): Request {
  return {
    type: types.getLink,
    flags: 0,
    body: encodeGetLink(peer.name),
    attempted: () => `find link ${peer.name}`,
    asks: true,
  };
}

/** The pair, read from the reply to `peerRequest`; undefined if the kernel refused it. */
export function madeVeth(spec: WantedVeth, reply: Reply | undefined): MadeVeth | undefined {
  const body = reply?.bodies[0];
  if (body === undefined) return undefined;
  const { index, peerIndex = 0 } = decodeLink(body);
  const peer = { name: spec.peer.name, index, mac: spec.peerMac };
  return { spec, pair: { name: spec.name, index: peerIndex, mac: spec.mac, peer } };
}
