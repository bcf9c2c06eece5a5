/**
 * The Linux kernel, as this product needs it: network namespaces, netlink (links, addresses, routes, rules, neighbours,
 * nf_tables), ethtool, sysctls, packet sockets, probes and announcements by ARP and NDP. Calls are synchronous and short (under a
 * millisecond); what is slow in the kernel is asynchronous and says so. Starts no process.
 *
 * It will not do policy: which addresses, names and tables are used is the caller's decision. Imports `#ip` and `#base`. The
 * plugins, the doctor, the agent, the command line (on a node without agent) and the lab may import it.
 */

export { announce } from "./announce.ts";
export { LinuxError } from "./errors.ts";
export { readTxChecksum, setTxChecksum } from "./ethtool.ts";
export { lockFile, tryLockFile } from "./file-lock.ts";
export { formatMac, parseMac } from "./mac.ts";
export { releaseCode } from "./memory.ts";
export { monitor, type NetworkEvent } from "./monitor.ts";
export { createNetns, deleteNetns, hostNetns, Netns, openNetns, readNetnsId, sameNetns } from "./netns.ts";
export { ensureReplyMarks, hasReplyMarks } from "./nft/reply-marks.ts";
export { PacketSocket } from "./packet-socket.ts";
export { probe } from "./probe.ts";
export { bootId } from "./process.ts";
export type { Batch } from "./rtnl/batch.ts";
export { bondOptionNames } from "./rtnl/kind.ts";
export type { LinkRef } from "./rtnl/request.ts";
export type { Route, RouteSpec } from "./rtnl/route.ts";
export { mainTable } from "./rtnl/route.ts";
export { Rtnl } from "./rtnl/rtnl.ts";
export type { Rule, RuleSpec } from "./rtnl/rule.ts";
export type { BondValue, Link, LinkChange, LinkKind, LinkSpec, VethEnd, VethPair, VethSpec } from "./rtnl/types.ts";
export { readSysctl, writeSysctl } from "./sysctl.ts";
export { acceptWaiting, bindUnixSocket, readWaiting } from "./unix-socket.ts";
