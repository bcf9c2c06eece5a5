import type { SpiderIPAddressSpec } from "#api";
import { formatIp, type IpSet, parseIp, tryParseClaimName } from "#ip";
import { at, textAt } from "../../../lab/api/index.ts";
import { isOfApplication } from "../cluster/applications.ts";
import { isOver, nodeOf } from "../cluster/kubelet.ts";
import { isCutOff, type Namespace } from "../cluster/machine.ts";
import type { KubeObject, Server } from "../cluster/server.ts";
import { isWanted } from "../cluster/stateful.ts";
import { hasVirtualPod, isOfVirtual, isVirtualThere } from "../cluster/virtual.ts";
import { shape } from "../history.ts";
import { sixName } from "../people/pools.ts";
import { epochMs } from "../runtime/process.ts";
import type { World } from "../world.ts";
import { keeperOf } from "./kept.ts";
import { specOf, uidsOf } from "./law.ts";
import { setOf } from "./parts.ts";
import { checkParts, freeForPod } from "./rest-parts.ts";
import { claimTable, poolTable } from "./tables.ts";
import { Violation } from "./violation.ts";

/** What an 'until' that others wrote may be late by: clocks that are off, and a collector that looks twice. */
const lateMsMax = 1_260_000;

/** What must hold when nothing has happened from outside for long. Throws the first {@link Violation}. */
export function checkRest(world: World): void {
  const { server, nodes } = world;
  const pods = server.store.list("/pods", "default");
  const claims = server.store.list(claimTable);
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp === undefined) continue;
    throw new Violation("nothing is terminating for ever", `Pod ${pod.metadata.name} on ${nodeOf(pod)}`);
  }
  const used = new Map<string, string>();
  for (const { machine } of nodes) {
    for (const { namespace, ip } of machine.answering()) {
      const other = used.get(ip) ?? namespace.podUid;
      if (other !== namespace.podUid)
        throw new Violation("no address is answered by two Pods", `${ip} is of Pods ${other} and ${namespace.podUid}`);
      used.set(ip, namespace.podUid);
    }
  }
  for (const { metadata } of server.store.list(poolTable)) {
    const { name, uid, deletionTimestamp } = metadata;
    if (deletionTimestamp === undefined || claims.some((claim) => specOf(claim).poolUID === uid)) continue;
    throw new Violation("nothing is terminating for ever", `IPPool ${name}, of which nobody has an address`);
  }
  checkKept(world, claims);
  for (const claim of claims) {
    const spec = specOf(claim);
    if (spec.purpose !== "Pod") continue;
    const ip = tryParseClaimName(claim.metadata.name);
    if (ip !== undefined && used.get(formatIp(ip)) === spec.podUID) continue;
    if (pods.some((pod) => waitsForOther(pod, used, server) && uidsOf(pod).includes(spec.podUID ?? ""))) continue;
    throw new Violation(
      "a claim has somebody who uses it",
      `${claim.metadata.name} of ${spec.podNamespace}/${spec.podName} (${spec.podUID}, ${spec.nic}) on ${spec.node}`,
    );
  }
  for (const [ip, podUid] of used) {
    const found = claims.some(({ metadata: { name }, ...rest }) => {
      const parsed = tryParseClaimName(name);
      return (
        parsed !== undefined &&
        formatIp(parsed) === ip &&
        specOf({ metadata: { name }, ...rest } as KubeObject).podUID === podUid
      );
    });
    if (!found) throw new Violation("who uses an address has its claim", `${ip} of Pod ${podUid}`);
  }
  checkParts(server);
  checkDemand(world, pods, used);
  const waiting = new Set(pods.flatMap(uidsOf).filter((uid) => ![...used.values()].includes(uid)));
  checkViews(world, claims, waiting);
  for (const { machine } of nodes) {
    for (const name of machine.ports.keys()) {
      if (!machine.hasHostLink(name)) throw new Violation("no port is left over", `${name} on ${machine.name}`);
    }
  }
}

/** Keys of the Pods that are to run and have no addresses. */
export function whoWaits({ server, nodes }: World): readonly string[] {
  const holders = new Set(
    nodes.flatMap(({ machine }) => [...machine.answering()].map(({ namespace }) => namespace.podUid)),
  );
  return server.store
    .list("/pods", "default")
    .filter((pod) => !isOver(pod) && !uidsOf(pod).some((uid) => holders.has(uid)))
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
}

/** What is kept is kept for somebody, once; what is set aside is so for a time. */
function checkKept({ server, time }: World, claims: readonly KubeObject[]): void {
  const keys = new Set<string>();
  for (const claim of claims) {
    const spec = specOf(claim);
    const { purpose, podName = "", nic, until = "", address } = spec;
    const { name } = claim.metadata;
    if (purpose === "Quarantine" && Date.parse(until) + lateMsMax < epochMs + time.nowMs) {
      throw new Violation("what is set aside is free again after its time", `${name}, until ${until}`);
    }
    if (purpose !== "Sticky") continue;
    // The Pod may have outlived its StatefulSet.
    if (!isKeeperThere(server, spec))
      throw new Violation("a sticky address goes with its owner", `${name} of ${podName}`);
    const key = `${keeperOf(spec)}/${nic}/${address.includes(":")}`;
    if (keys.has(key)) throw new Violation("one sticky address for a Pod's NIC and family", `${podName} at ${name}`);
    keys.add(key);
  }
}

/** Whether there is, or will be, a Pod that has or gets the address. */
function isKeeperThere(server: Server, spec: SpiderIPAddressSpec): boolean {
  const { podNamespace: namespace = "", podName = "" } = spec;
  if (isOfVirtual(spec)) return isVirtualThere(server) || hasVirtualPod(server);
  return isWanted(server, podName) || server.get("/pods", { namespace, name: podName }) !== undefined;
}

/** A Pod of two addresses that waits for one may hold the other: what it had before a try, the try leaves it. */
function waitsForOther(pod: KubeObject, used: ReadonlyMap<string, string>, server: Server): boolean {
  const isOfTwo = nicsOf(pod) > 1 || freeInSix(server) !== undefined;
  return isOfTwo && !isOver(pod) && !uidsOf(pod).some((uid) => [...used.values()].includes(uid));
}

function nicsOf(pod: KubeObject): number {
  return at(pod, "metadata", "annotations", "k8s.v1.cni.cncf.io/networks") === undefined ? 1 : 2;
}

function isOfNetworks({ metadata }: KubeObject): boolean {
  return metadata.name.startsWith("pool-");
}

/** A network that names a pool which is absent or goes gives no addresses: Pods wait, and keep what they have. */
function poolsAreWhole({ server }: World): boolean {
  const pools = server.store.list(poolTable);
  const whole = pools.filter(isOfNetworks).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  return whole.length === shape.pools;
}

/** How many addresses of each pool nobody has; what a Pod holds that waits for its other NIC's is not free. */
export function freeIn({ store }: Server): readonly { readonly name: string; readonly free: bigint }[] {
  const claims = store.list(claimTable);
  const pools = store.list(poolTable).filter(isOfNetworks);
  return pools.map((pool) => ({ name: pool.metadata.name, free: freeOf(pool, claims) }));
}

function freeOf(pool: KubeObject, claims: readonly KubeObject[]): bigint {
  const set = setOf(pool);
  return set.size - BigInt(claims.filter((claim) => isIn(set, specOf(claim).address)).length);
}

/** How many addresses of the networks' IPv6 pool nobody has; undefined where they have none. */
function freeInSix(server: Server): bigint | undefined {
  const pool = server.get(poolTable, { name: sixName });
  return pool && freeOf(pool, server.store.list(claimTable));
}

function isIn(set: IpSet, address: string): boolean {
  const ip = parseIp(address);
  return ip.family === set.family && set.contains(ip);
}

/** Where addresses are free, every Pod runs. */
function checkDemand(world: World, pods: readonly KubeObject[], used: ReadonlyMap<string, string>): void {
  if (!poolsAreWhole(world)) return;
  const { server } = world;
  const holders = new Set(used.values());
  const free = freeIn(server);
  const left = free.reduce((sum, one) => sum + one.free, 0n);
  const six = freeInSix(server);
  const first = free.find(({ name }) => name === world.poolNames[0])?.free ?? 0n;
  for (const pod of pods) {
    if (isOver(pod) || uidsOf(pod).some((uid) => holders.has(uid) || isLeftCut(world, uid))) continue;
    const nics = nicsOf(pod);
    // A Pod of two NICs needs one of them from the first pool.
    const ofNetworks = (nics === 1 ? left >= 1n : first >= 2n) && (six ?? 2n) >= nics;
    const fits = isOfApplication(pod) ? (freeForPod(server, pod) ?? 0n) >= 1n : ofNetworks;
    if (!fits) continue;
    throw new Violation("where addresses are free every Pod runs", `Pod ${pod.metadata.name} on ${nodeOf(pod)} waits`);
  }
}

/** Its address was given away after somebody deleted its claim: an Event asks for the Pod to be made anew. */
function isLeftCut({ nodes, law }: World, uid: string): boolean {
  const isCut = (namespace: Namespace) => namespace.podUid === uid && isCutOff(namespace);
  return law.isRobbed(uid) && nodes.some(({ machine }) => [...machine.namespaces.values()].some(isCut));
}

/**
 * Views agree with the ledger, and set-aside addresses belong to nobody. A Pod that waits for another pool claims and releases in
 * turn.
 */
function checkViews({ server }: World, claims: readonly KubeObject[], waiting: ReadonlySet<string>): void {
  for (const pool of server.store.list(poolTable)) {
    const { name, uid } = pool.metadata;
    const set = setOf(pool);
    const held = claims
      .filter((claim) => specOf(claim).poolUID === uid || isIn(set, specOf(claim).address))
      .filter((claim) => specOf(claim).purpose !== "Quarantine" && !waiting.has(specOf(claim).podUID ?? ""))
      .map((claim) => `${formatIp(parseIp(specOf(claim).address))} ${specOf(claim).podUID}`)
      .sort();
    const text = textAt(pool, "status", "allocatedIPs");
    const records: Readonly<Record<string, { readonly podUid: string }>> = text === "" ? {} : JSON.parse(text);
    const told = Object.entries(records)
      .filter(([, { podUid }]) => !waiting.has(podUid))
      .map(([ip, { podUid }]) => `${ip} ${podUid}`)
      .sort();
    if (JSON.stringify(held) !== JSON.stringify(told)) {
      throw new Violation("a pool's status is what the ledger says", `${name}: [${told}], not [${held}]`);
    }
  }
}
