/**
 * The Linux kernel, as this product needs it: network namespaces, netlink (links, addresses, routes, rules, neighbours,
 * nf_tables), ethtool, sysctls, packet sockets and the ARP and NDP codecs. Calls are synchronous and short (under a
 * millisecond); what is slow in the kernel is asynchronous and says so. Starts no process.
 *
 * It will not do policy: which addresses, names and tables are used is the caller's decision. Imports `#ip` and `#base`.
 * The plugins, the doctor, the agent, the command line (on a node
 * without agent) and the lab may import it.
 */

export { announce } from "./announce.ts";
export { type ArpPacket, broadcastMac, decodeArp, encodeArp, etherTypeArp, gratuitousArp } from "./arp.ts";
export { LinuxError } from "./errors.ts";
export { readTxChecksum, setTxChecksum } from "./ethtool.ts";
export { lockFile, tryLockFile } from "./file-lock.ts";
export { formatMac, parseMac, randomMac } from "./mac.ts";
export { releaseCode } from "./memory.ts";
export { monitor, type NetworkEvent, type NetworkTopic } from "./monitor.ts";
export {
  allNodes,
  decodeNdp,
  encodeNdp,
  etherTypeIpv6,
  multicastMac,
  type NdpPacket,
  solicitedNode,
  unsolicitedAdvertisement,
} from "./ndp.ts";
export {
  createNetns,
  deleteNetns,
  hostNetns,
  Netns,
  type NetnsId,
  openNetns,
  readNetnsId,
  sameNetns,
} from "./netns.ts";
export { ensureReplyMarks, hasReplyMarks } from "./nft/reply-marks.ts";
export { type Frame, PacketSocket } from "./packet-socket.ts";
export { type ProbeOptions, probe } from "./probe.ts";
export { bootId } from "./process.ts";
export type { AddAddressOptions, Address } from "./rtnl/address.ts";
export type { Batch } from "./rtnl/batch.ts";
export { bondOptionNames } from "./rtnl/link.ts";
export type { Neighbour } from "./rtnl/neighbour.ts";
export type { Netconf } from "./rtnl/netconf.ts";
export type { LinkRef, Tolerance } from "./rtnl/request.ts";
export type { AddRouteOptions, Route, RouteFilter, RouteGetOptions, RouteSpec } from "./rtnl/route.ts";
export { mainTable } from "./rtnl/route.ts";
export { Rtnl } from "./rtnl/rtnl.ts";
export type { Rule, RuleSpec } from "./rtnl/rule.ts";
export type { BondValue, Link, LinkChange, LinkKind, LinkSpec, VethEnd, VethPair, VethSpec } from "./rtnl/types.ts";
export { readSysctl, writeSysctl } from "./sysctl.ts";
export { acceptWaiting, bindUnixSocket } from "./unix-socket.ts";
