import { codeOf, SpiderError } from "#base";
import { LinuxError } from "../errors.ts";
import { Attributes, MessageWriter } from "../netlink/attributes.ts";
import { Channel, openTransport, protocols, type Request } from "../netlink/channel.ts";
import { flags } from "../netlink/message.ts";
import type { Netns } from "../netns.ts";
import { addMark, connectionIsNew, type Expression, fromInterface, hasMark } from "./expressions.ts";

const table = "spiderpool";
const familyInet = 1;
const subsystem = 10;
const batchBegin = 0x10;
const batchEnd = 0x11;
const types = { newTable: 0, getTable: 1, deleteTable: 2, newChain: 3, newRule: 6, getRule: 7 } as const;
/** The same number in requests about tables and about rules. */
const tableName = 1;
const ruleAttributes = { table: 1, chain: 2, expressions: 4, userData: 7 } as const;
const chainAttributes = { table: 1, name: 3, hook: 4, type: 7 } as const;
/** In a rule's user data, nft(8) shows this type as the comment. */
const commentType = 0;

/** Where packets are seen; the priority is that of iptables' mangle table. "route" looks the route up again after a change. */
const chains = [
  { name: "prerouting", type: "filter", hook: 0 },
  { name: "output", type: "route", hook: 3 },
] as const;
const manglePriority = -150;

interface MarkRule {
  readonly chain: (typeof chains)[number]["name"];
  readonly expressions: readonly Expression[];
}

/**
 * Connections that come in by an interface get a bit of their mark set, and the replies carry it, so that a rule
 * `fwmark MARK/MARK lookup TABLE` can send them back by that interface. Other bits are left alone.
 */
function markRules(ifname: string, mark: number): readonly MarkRule[] {
  return [
    {
      chain: "prerouting",
      expressions: [...fromInterface(ifname), ...connectionIsNew, ...addMark("meta", mark)],
    },
    { chain: "prerouting", expressions: [...hasMark("meta", mark), ...addMark("ct", mark)] },
    { chain: "output", expressions: [...hasMark("ct", mark), ...addMark("meta", mark)] },
  ];
}

/**
 * Makes table `inet spiderpool` of the namespace contain the rules for `ifname` and no others. Takes one transaction if there
 * is no such table yet. Throws NF_TABLES_MISSING if the kernel lacks nf_tables or connection tracking.
 */
export function ensureReplyMarks(netns: Netns, ifname: string, mark: number): void {
  if (!Number.isInteger(mark) || mark < 1 || mark > 0xffff_ffff) throw new RangeError(`a mark has 32 bits: ${mark}`);
  withChannel(netns, (channel) => {
    const make = createTable(ifname, mark);
    const refused = transact(channel, make);
    if (refused === undefined) return;
    if (refused.code !== "EEXIST") throw refused;
    if (isInPlace(channel, ifname, mark)) return;
    // A delete costs 12 ms, since the kernel waits for RCU before the socket closes: done only where there is something.
    const refusedAgain = transact(channel, [deleteTable(), ...make]);
    if (refusedAgain !== undefined) throw refusedAgain;
  });
}

/** The messages that make the table, by interface and mark. Hundreds of Pods have the same ones. */
const encoded = new Map<string, readonly Request[]>();

function createTable(ifname: string, mark: number): readonly Request[] {
  const key = `${mark} ${ifname}`;
  const table = encoded.get(key) ?? encodeTable(ifname, mark);
  encoded.set(key, table);
  return table;
}

/** All or nothing. Returns what the kernel refused. */
function transact(channel: Channel, requests: readonly Request[]): LinuxError | undefined {
  const replies = channel.transact(opening, requests, closing);
  return replies.find(({ error }) => error !== undefined)?.error;
}

/** Whether they are there. */
export function hasReplyMarks(netns: Netns, ifname: string, mark: number): boolean {
  return withChannel(netns, (channel) => isInPlace(channel, ifname, mark));
}

function deleteTable(): Request {
  return nft(types.deleteTable, 0, named, `delete table ${table}`);
}

function named(body: MessageWriter): MessageWriter {
  return body.putText(tableName, table);
}

function encodeTable(ifname: string, mark: number): readonly Request[] {
  return [
    nft(types.newTable, flags.create | flags.exclusive, named, `add table ${table}`),
    ...chains.map((chain) => {
      const build = (body: MessageWriter) =>
        body
          .putText(chainAttributes.table, table)
          .putText(chainAttributes.name, chain.name)
          .nest(chainAttributes.hook, (hook) => hook.putU32be(1, chain.hook).putU32be(2, manglePriority))
          .putText(chainAttributes.type, chain.type);
      return nft(types.newChain, flags.create, build, `add chain ${chain.name}`);
    }),
    ...markRules(ifname, mark).map(({ chain, expressions }) => {
      const build = (body: MessageWriter) =>
        body
          .putText(ruleAttributes.table, table)
          .putText(ruleAttributes.chain, chain)
          .nest(ruleAttributes.expressions, (list) => {
            for (const write of expressions) write(list);
          })
          .putBytes(ruleAttributes.userData, encodeComment(comment(ifname, mark)));
      return nft(types.newRule, flags.create | flags.append, build, `add a rule to chain ${chain}`);
    }),
  ];
}

/** The comment tells whose rules they are: the kernel does not give expressions back as they were sent. */
function isInPlace(channel: Channel, ifname: string, mark: number): boolean {
  const bodies = dumpOrNone(channel, nft(types.getRule, 0, named, "list rules"));
  const found = bodies
    .map((body) => new Attributes(body, 4))
    .filter((rule) => rule.text(ruleAttributes.table) === table)
    .map((rule) => Buffer.from(rule.bytes(ruleAttributes.userData) ?? []));
  const expected = encodeComment(comment(ifname, mark));
  return found.length === markRules(ifname, mark).length && found.every((userData) => userData.equals(expected));
}

function dumpOrNone(channel: Channel, request: Request): readonly Uint8Array[] {
  try {
    return channel.dump(request);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function comment(ifname: string, mark: number): string {
  return `replies to ${ifname}, mark 0x${mark.toString(16)}`;
}

/** Type, length, text and NUL. */
function encodeComment(text: string): Buffer {
  return Buffer.concat([Buffer.from([commentType, Buffer.byteLength(text) + 1]), Buffer.from(`${text}\0`)]);
}

type Build = (body: MessageWriter) => MessageWriter;

function nft(type: number, extraFlags: number, build: Build, what: string): Request {
  return message((subsystem << 8) | type, extraFlags, build, familyInet, what);
}

/** `struct nfgenmsg`: family, version, and the subsystem in network order where a transaction opens or closes. */
function message(type: number, extraFlags: number, build: Build, family: number, what: string): Request {
  const body = new MessageWriter()
    .u8(family)
    .u8(0)
    .u16(family === 0 ? subsystem << 8 : 0);
  return { type, flags: extraFlags, body: build(body).finish(), attempted: () => `${what} of nf_tables` };
}

const opening = message(batchBegin, 0, (body) => body, 0, "open a transaction");
const closing = message(batchEnd, 0, (body) => body, 0, "close a transaction");

/** The kernel's errors for a missing part: the protocol, the subsystem, an expression or a chain type. */
const missing: readonly string[] = ["EPROTONOSUPPORT", "EOPNOTSUPP", "ENOENT", "EAFNOSUPPORT"];

function withChannel<T>(netns: Netns, act: (channel: Channel) => T): T {
  try {
    using channel = new Channel(
      netns.enter(() => openTransport(protocols.netfilter)),
      netns.path,
    );
    return act(channel);
  } catch (cause) {
    if (!(cause instanceof LinuxError) || !missing.includes(cause.code)) throw cause;
    throw new SpiderError("NF_TABLES_MISSING", "the kernel lacks nf_tables or its connection tracking", {
      details: {
        netns: netns.path,
        fix: "load them on the node (modprobe -a nf_tables nft_ct), or run a kernel that has CONFIG_NF_TABLES_INET and CONFIG_NFT_CT",
      },
      cause,
    });
  }
}
