// Runs on a lab's node: what the kernel and Open vSwitch take for themselves, without shim, agent, address and coordinator.
// Reads numbers of ports as JSON on stdin and prints a Floor. Started by bench/node.ts.
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { createNetns, deleteNetns, hostNetns, type VethPair, writeSysctl } from "#linux";
import { type Percentiles, percentiles } from "./report.ts";

const rounds = 40;
const bridge = "br1";
const databaseSocket = "/run/openvswitch/db.sock";
const peersPath = "/run/netns/bench-floor";
/** Ports of one transaction while the bridge is filled. */
const portsMax = 50;
/** As in the plugin. */
const manyPorts = 64;
/** Enough for vswitchd to have looked at everything. */
const restMs = (ports: number) => 50 + ports;

/** Ports added to a bridge that has so many. */
export interface FloorOfPorts {
  readonly ports: number;
  /** vswitchd was at rest before. */
  readonly atRest: Percentiles;
  /** The one before has just gone. */
  readonly inTurn: Percentiles;
}

export interface FloorOfLinks {
  readonly create: Percentiles;
  readonly delete: Percentiles;
}

export interface Floor {
  readonly ports: readonly FloorOfPorts[];
  readonly veth: FloorOfLinks;
  readonly macvlan: FloorOfLinks;
}

interface Port {
  readonly uuid: unknown;
  readonly link: VethPair;
}

const { rtnl } = hostNetns();
const peers = createNetns(peersPath);
// Multicast of IPv6 would be copied to every port.
writeSysctl(peers, "net/ipv6/conf/default/disable_ipv6", 1);
const socket = connect(databaseSocket);
await once(socket, "connect");
let made = 0;

/** One transaction at a time, in plain JSON-RPC (RFC 7047). Returns what its operations answered. */
async function transact(...operations: readonly object[]): Promise<readonly { readonly uuid?: unknown }[]> {
  socket.write(JSON.stringify({ method: "transact", params: ["Open_vSwitch", ...operations], id: 0 }));
  let answer = "";
  for (;;) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    answer += chunk.toString();
    // An answer is whole where its braces are even: names and numbers have none.
    if (answer.split("{").length !== answer.split("}").length) continue;
    const { result, error } = JSON.parse(answer);
    const refusal = error ?? result.find((one: { readonly error?: string } | null) => one === null || one.error);
    if (refusal === undefined) return result;
    throw new Error(`Open vSwitch's database refused: ${answer}`);
  }
}

const onBridge = [["name", "==", bridge]];
const mutateBridge = (how: "insert" | "delete", ports: readonly unknown[]) => {
  return { op: "mutate", table: "Bridge", where: onBridge, mutations: [["ports", how, ["set", ports]]] };
};

/** vswitchd gives a port its number when it forwards, and -1 while its device is missing. */
function untilForwarding(name: string): readonly object[] {
  return [["set", []], -1].map((ofport) => {
    const where = [["name", "==", name]];
    return {
      op: "wait",
      table: "Interface",
      where,
      columns: ["ofport"],
      until: "!=",
      rows: [{ ofport }],
      timeout: 30_000,
    };
  });
}

/**
 * The row, then the link, then the wait, with nothing between: no product can do less for a port. With so many ports that
 * vswitchd takes long to go through them, the row is waited for first, since it finds the link meanwhile.
 */
async function addPorts(count: number): Promise<readonly Port[]> {
  const names = Array.from({ length: count }, () => `floor${made++}`);
  const rows = names.flatMap((name, at) => [
    { op: "insert", table: "Interface", "uuid-name": `i${at}`, row: { name } },
    { op: "insert", table: "Port", "uuid-name": `p${at}`, row: { name, interfaces: ["named-uuid", `i${at}`] } },
  ]);
  const inserted = transact(
    ...rows,
    mutateBridge(
      "insert",
      names.map((_, at) => ["named-uuid", `p${at}`]),
    ),
  );
  if (there.length >= manyPorts) await inserted;
  const links = rtnl.createVeths(
    names.map((name) => ({
      name,
      up: true,
      promiscuous: true,
      addrGenModeNone: true,
      peer: { name, netns: peers, up: true },
    })),
  );
  const results = await inserted;
  for (const name of names) await transact(...untilForwarding(name));
  return links.map((link, at) => ({ uuid: results[2 * at + 1]?.uuid, link }));
}

async function removePorts(ports: readonly Port[]): Promise<void> {
  if (ports.length === 0) return;
  await transact(
    mutateBridge(
      "delete",
      ports.map(({ uuid }) => uuid),
    ),
  );
  await rtnl.deleteLinksLater(ports.map(({ link }) => link.name));
}

async function timed(act: () => unknown): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

async function measurePorts(ports: number): Promise<FloorOfPorts> {
  const measure = async (pauseMs: number) => {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await delay(pauseMs);
      let added: readonly Port[] = [];
      times.push(
        await timed(async () => {
          added = await addPorts(1);
        }),
      );
      await delay(pauseMs);
      await removePorts(added);
    }
    return percentiles(times);
  };
  return { ports, atRest: await measure(restMs(ports)), inTurn: await measure(0) };
}

async function measureLinks(create: (name: string) => unknown, rtnlOf = rtnl): Promise<FloorOfLinks> {
  const creates: number[] = [];
  const deletes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const name = `floor${made++}`;
    creates.push(await timed(() => create(name)));
    deletes.push(await timed(() => rtnlOf.deleteLinksLater([name])));
  }
  return { create: percentiles(creates), delete: percentiles(deletes) };
}

const counts: readonly number[] = JSON.parse(await text(process.stdin));
const there: Port[] = [];
const ofPorts: FloorOfPorts[] = [];
try {
  const veth = await measureLinks((name) => rtnl.createVeth({ name, up: true, peer: { name, netns: peers } }));
  const macvlan = await measureLinks((name) => {
    rtnl.createLink({ name, kind: { kind: "macvlan", parent: bridge, mode: "bridge" }, netns: peers, up: true });
  }, peers.rtnl);
  for (const count of counts) {
    while (there.length < count) there.push(...(await addPorts(Math.min(portsMax, count - there.length))));
    ofPorts.push(await measurePorts(count));
  }
  const floor: Floor = { ports: ofPorts, veth, macvlan };
  console.log(JSON.stringify(floor));
} finally {
  await removePorts(there);
  deleteNetns(peersPath);
}
process.exit(0);
