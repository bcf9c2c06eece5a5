import type { Settings, SpiderEndpoint, SpiderEndpointIp, SpiderIPPool } from "#api";
import { isJsonObject, type JsonObject } from "#base";
import { formatIp, type Ip, type Prefix, tryParseIp, tryParsePrefix } from "#ip";
import { keyOf, type Pod } from "#kube";
import { type Answer, stickyOwnerOf, type TakenOver } from "#ledger";

/** The fields of a Pod that matter here. Pods that have finished do not count. */
export interface LivingPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly owner: TakenOver["owner"];
}

/** What the former system left, read from the API server. */
export interface Former {
  readonly pools: readonly SpiderIPPool[];
  readonly endpoints: readonly SpiderEndpoint[];
  /** By UID. */
  readonly pods: ReadonlyMap<string, LivingPod>;
}

/** An entry that could not be taken over. */
export interface Problem {
  /** Name of the pool that contains the entry, or that the entry names. */
  readonly pool: string;
  readonly entry: string;
  readonly why: string;
}

interface TakeOverPlan {
  readonly claims: readonly TakenOver[];
  /** Addresses of Pods that are gone, which are free. */
  readonly ended: readonly { readonly pool: string; readonly ip: string }[];
  readonly problems: readonly Problem[];
}

/** One source's statement that a Pod has an address. */
interface Word {
  readonly ip: Ip;
  readonly pool: SpiderIPPool;
  readonly podUid: string;
  /** The Pod's key in that source. */
  readonly podKey: string;
  /** Absent if the source does not have it: pools do not. */
  readonly nic?: string;
  readonly answer?: Answer;
  readonly keptBy?: string;
}

/** The Pod's fields that matter; undefined if it has no node yet, or has finished. */
export function livingPod(
  pod: Pod,
  settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">,
): LivingPod | undefined {
  const { metadata, spec, status } = pod;
  const ended = status?.phase === "Succeeded" || status?.phase === "Failed";
  if (spec?.nodeName === undefined || ended) return undefined;
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid,
    node: spec.nodeName,
    ips: (status?.podIPs ?? []).flatMap(({ ip = "" }) => {
      const parsed = tryParseIp(ip);
      return parsed === undefined ? [] : [formatIp(parsed)];
    }),
    owner: stickyOwnerOf(pod, settings)?.owner,
  };
}

/**
 * The claims that the ledger needs so that no address of a running Pod is given away, from each pool's `status.allocatedIPs` and
 * from the SpiderEndpoints. If these contradict each other, the Pod's own status decides, then the pool. Pure.
 */
export function planTakeOver(
  former: Former,
  settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">,
): TakeOverPlan {
  const problems: Problem[] = [];
  const words = [...pooled(former.pools, problems), ...endpointed(former, settings, problems)];
  const byIp = Map.groupBy(words, ({ ip }) => formatIp(ip));
  const claims: TakenOver[] = [];
  const ended: { readonly pool: string; readonly ip: string }[] = [];
  const unnamed = new Map<string, number>();
  for (const [text, all] of byIp) {
    const living = all.filter(({ podUid }) => former.pods.has(podUid));
    const has = (word: Word) => former.pods.get(word.podUid)?.ips.includes(text) === true;
    const chosen = living.find(has) ?? living[0] ?? all.find(({ keptBy }) => keptBy !== undefined);
    if (chosen === undefined) {
      ended.push({ pool: all[0]?.pool.metadata.name ?? "", ip: text });
      continue;
    }
    const others = new Set(living.filter(({ podUid }) => podUid !== chosen.podUid).map(({ podKey }) => podKey));
    for (const other of others) {
      const why = `Pod ${other} is said to have it, too; it is ${chosen.podKey}'s: restart ${other}`;
      problems.push({ pool: chosen.pool.metadata.name, entry: text, why });
    }
    const named = all.find((word) => word.podUid === chosen.podUid && word.nic !== undefined) ?? chosen;
    claims.push(takenOver(named, former.pods.get(chosen.podUid), unnamed));
  }
  return { claims, ended, problems };
}

function takenOver(word: Word, pod: LivingPod | undefined, unnamed: Map<string, number>): TakenOver {
  const { ip, pool, podUid, podKey } = word;
  const [namespace = "", name = ""] = podKey.split("/");
  const { name: poolName, uid, generation = 0 } = pool.metadata;
  const kept = word.keptBy === undefined ? undefined : { text: word.keptBy };
  return {
    ip,
    pool: { name: poolName, uid, generation },
    pod:
      pod === undefined ? { namespace, name, uid: podUid } : { namespace: pod.namespace, name: pod.name, uid: podUid },
    nic: word.nic ?? nicOf(ip, pod, unnamed),
    node: pod?.node,
    owner: pod === undefined ? kept : pod.owner,
    answer: word.answer ?? { prefix: tryParsePrefix(pool.spec.subnet)?.bits ?? (ip.family === 4 ? 32 : 128) },
  };
}

/** A NIC for an address that no source has a NIC for: eth0 if the Pod's status has the address, else any distinct name. */
function nicOf(ip: Ip, pod: LivingPod | undefined, unnamed: Map<string, number>): string {
  if (pod === undefined || pod.ips.includes(formatIp(ip))) return "eth0";
  const count = (unnamed.get(pod.uid) ?? 0) + 1;
  unnamed.set(pod.uid, count);
  return `unknown${count}`;
}

/** Statements from the statuses of all pools. */
function pooled(pools: readonly SpiderIPPool[], problems: Problem[]): readonly Word[] {
  return pools.flatMap((pool) => {
    const refuse = (entry: string, why: string): readonly Word[] => {
      problems.push({ pool: pool.metadata.name, entry, why });
      return [];
    };
    const records = recordsIn(pool.status?.allocatedIPs);
    if (typeof records === "string") return refuse("status.allocatedIPs", records);
    return Object.entries(records).flatMap(([address, record]) => {
      const ip = tryParseIp(address);
      if (ip === undefined) return refuse(address, "it is no IP address");
      const { pod: podKey, podUid } = isJsonObject(record) ? record : {};
      if (typeof podUid !== "string" || podUid === "" || typeof podKey !== "string" || !podKey.includes("/")) {
        return refuse(address, `it should have pod (namespace/name) and podUid, and is ${JSON.stringify(record)}`);
      }
      return [{ ip, pool, podUid, podKey }];
    });
  });
}

/** The records by address in a pool's `status.allocatedIPs`, or why they cannot be read. */
function recordsIn(text = ""): JsonObject | string {
  if (text === "") return {};
  try {
    const records: unknown = JSON.parse(text);
    return isJsonObject(records) ? records : "it is no JSON object of addresses";
  } catch (error) {
    return `it is no JSON: ${(error as Error).message}`;
  }
}

/** The owner, as claims name it, for whose next Pod the endpoint's addresses are kept; undefined: they go with the Pod. */
function keeperOf(
  { metadata: { namespace }, status: { ownerControllerType: kind, ownerControllerName: name } }: SpiderEndpoint,
  settings: Parameters<typeof planTakeOver>[1],
): string | undefined {
  if (kind === "StatefulSet" && settings.enableStatefulSet) return `apps/v1/${kind}/${namespace}/${name}`;
  if (kind === "VirtualMachineInstance" && settings.enableKubevirtStaticIP)
    return `kubevirt.io/v1/${kind}/${namespace}/${name}`;
  return undefined;
}

/** Statements from the endpoints of living Pods, and of Pods of StatefulSets and virtual machines that will come back. */
function endpointed(
  { pools, endpoints, pods }: Former,
  settings: Parameters<typeof planTakeOver>[1],
  problems: Problem[],
): readonly Word[] {
  const byName = new Map(pools.map((pool) => [pool.metadata.name, pool]));
  return endpoints.flatMap((endpoint) => {
    const { current } = endpoint.status;
    const keptBy = keeperOf(endpoint, settings);
    if (!pods.has(current.uid) && keptBy === undefined) return [];
    const podKey = keyOf(endpoint.metadata);
    const holder = { podUid: current.uid, podKey, ...(keptBy !== undefined && { keptBy }) };
    return current.ips.flatMap((nic) =>
      addressesOf(nic).flatMap(({ text, poolName, gateway }): readonly Word[] => {
        const refuse = (why: string) => {
          problems.push({ pool: poolName, entry: `${text} of SpiderEndpoint ${podKey}`, why });
          return [];
        };
        const address = tryParsePrefix(text);
        if (address === undefined) return refuse("it is no address with a prefix length");
        const pool = byName.get(poolName);
        if (pool === undefined) return refuse("its pool does not exist");
        const named = nic.interface === "" ? {} : { nic: nic.interface };
        return [{ ...holder, ip: address.ip, pool, ...named, answer: answerOf(nic, address, gateway) }];
      }),
    );
  });
}

interface EndpointAddress {
  readonly text: string;
  readonly poolName: string;
  readonly gateway: string;
}

/** What an endpoint says of a NIC's addresses; those that it leaves empty do not exist. */
function addressesOf(nic: SpiderEndpointIp): readonly EndpointAddress[] {
  const { ipv4 = "", ipv4Pool = "", ipv4Gateway = "", ipv6 = "", ipv6Pool = "", ipv6Gateway = "" } = nic;
  return [
    { text: ipv4, poolName: ipv4Pool, gateway: ipv4Gateway },
    { text: ipv6, poolName: ipv6Pool, gateway: ipv6Gateway },
  ].filter(({ text }) => text !== "");
}

/** What the next ADD of the Pod is answered with, as the former system answered it. */
function answerOf(nic: SpiderEndpointIp, { ip, bits }: Prefix, gateway: string): Answer {
  const routes = (nic.routes ?? []).filter(({ dst }) => tryParsePrefix(dst)?.ip.family === ip.family);
  return {
    prefix: bits,
    ...(gateway !== "" && { gw: gateway }),
    ...(nic.cleanGateway === true && { clean: true as const }),
    ...(routes.length > 0 && { routes }),
  };
}
