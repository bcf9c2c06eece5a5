import type { NetworkAttachmentDefinition } from "#api";
import { type Clock, formatError, type Logger, type Signal } from "#base";
import { isJsonObject, type JsonObject, parseJsonObject } from "#cni";
import {
  bridgesOf,
  eventOf,
  type Finding,
  type NetworkFacts,
  type NicPath,
  nodeChecks,
  nodePaths,
  type ObserveOptions,
  observeGateways,
  observeNode,
  observePaths,
  type PodFacts,
  type PodNic,
  runChecks,
} from "#doctor";
import { formatIp } from "#ip";
import { type EventRecorder, nodeSubject } from "#kube";
import type { Claim } from "#ledger";
import type { ClusterConfig } from "#plugins";
import { recordedResult } from "./chain.ts";
import { hostLinksOf } from "./host-state.ts";
import type { AgentOptions } from "./options.ts";
import { isSandboxThere, type RecordedNetwork, type SandboxRecord } from "./records.ts";

/** Findings are published again so often: who reads them takes what is older for mended (`publishedMsMax`). */
const everyMs = 600_000;
/** The node's agents and Pods come up first. */
const firstMs = 60_000;
/** How often it is asked whether Open vSwitch is missed; who misses it twice is told at once. */
const tickMs = 2_000;
const hostRuleTableDefault = 500;

export interface DoctorOptions {
  readonly observe: Omit<ObserveOptions, "networks" | "pods" | "now" | "signal" | "isAgent">;
  readonly records: () => readonly SandboxRecord[];
  readonly claims: () => Iterable<Claim>;
  readonly nads: () => readonly NetworkAttachmentDefinition[];
  /** The cluster's coordinator; undefined while there is none. */
  readonly coordinator: () => ClusterConfig | undefined;
  readonly clock: Clock;
}

/**
 * What is looked at on this node. In the agent's Pod the node's `/etc`, `/run` and `/usr/lib` are below
 * `/host`; the runtime's directories are in place.
 */
export function observed(
  { node, namespace, ovsdb: endpoint, stateDir, cniConfDir, cniBinDir }: AgentOptions,
  { host, ovs }: Pick<ObserveOptions, "host" | "ovs">,
): DoctorOptions["observe"] {
  const { confDir, binDir } = nodePaths;
  const paths = { ...nodePaths, root: "/host", stateDir, confDir: cniConfDir ?? confDir, binDir: cniBinDir ?? binDir };
  return { node, namespace, host, ovs, endpoint, paths };
}

/** Looks at the node now: what every check of a node finds. */
export async function examineNode(options: DoctorOptions, { signal }: Signal): Promise<readonly Finding[]> {
  const { observe, clock } = options;
  const pods = podsOf(options);
  const networks = options.nads().flatMap(networkFacts);
  const facts = await observeNode({ ...observe, networks, pods, now: clock.wall(), signal, isAgent: true });
  return runChecks(nodeChecks, facts, observe.node);
}

/** Every NIC of a Pod (`namespace/name`) as it is on the node now; none where it has no sandbox here. */
export async function showNetworks(
  options: DoctorOptions,
  pod: string,
  { signal }: Signal,
): Promise<readonly NicPath[]> {
  const pods = podsOf(options).filter((one) => one.pod === pod);
  const gateways = await observeGateways(pods, signal);
  const answered = (gateway: string) => gateways.find((one) => one.gateway === gateway)?.answered;
  return pods.flatMap((one) => observePaths(one, { ...options.observe, answered }));
}

function podsOf({ records, claims, coordinator }: DoctorOptions): readonly PodFacts[] {
  const poolOf = new Map([...claims()].map(({ ip, spec }) => [formatIp(ip), spec.pool]));
  const known = { poolOf, cluster: coordinator() };
  return records()
    .filter((record) => record.complete && record.cut !== true && isSandboxThere(record))
    .map((record) => podFacts(record, known));
}

/** Publishes what is found as Events on the node, again and again until the signal aborts. */
export async function runDoctor(
  options: DoctorOptions & { readonly events: Pick<EventRecorder, "record">; readonly log: Logger },
  { signal }: Signal,
): Promise<void> {
  const { clock, log, events, observe } = options;
  const { node } = observe;
  const subject = nodeSubject(node);
  const rounds = new Rounds(clock.monotonicMs());
  for (;;) {
    await clock.sleep(tickMs, { signal });
    if (!rounds.isDue(clock.monotonicMs(), isOvsMissed(options))) continue;
    try {
      for (const finding of await examineNode(options, { signal })) {
        events.record(subject, eventOf(finding));
        log.warn({ node, check: finding.id, found: finding.found }, "the doctor found something");
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ node, err: formatError(error) }, "the node could not be examined");
    }
  }
}

/** Networks or Pods of this node need Open vSwitch, and its database is away. */
function isOvsMissed(options: DoctorOptions): boolean {
  if (options.observe.ovs.state.kind === "connected") return false;
  return bridgesOf({ networks: options.nads().flatMap(networkFacts), pods: podsOf(options) }).size > 0;
}

/** When the doctor looks: again and again after a while, and once as soon as Open vSwitch is missed for longer than a restart takes. */
export class Rounds {
  #dueMs: number;
  /** How often in a row it was missed. */
  #missed = 0;

  constructor(nowMs: number) {
    this.#dueMs = nowMs + firstMs;
  }

  /** To be asked every `tickMs`. Times are of a monotonic clock. */
  isDue(nowMs: number, isMissed: boolean): boolean {
    this.#missed = isMissed ? this.#missed + 1 : 0;
    if (this.#missed !== 2 && nowMs < this.#dueMs) return false;
    this.#dueMs = nowMs + everyMs;
    return true;
  }
}

interface Known {
  readonly poolOf: ReadonlyMap<string, string>;
  readonly cluster: ClusterConfig | undefined;
}

function podFacts(record: SandboxRecord, known: Known): PodFacts {
  const { pod, netns, networks, containerId } = record;
  return {
    pod: pod === null ? containerId : `${pod.namespace}/${pod.name}`,
    netnsPath: netns.path,
    nics: networks.map((network) => nicFacts(record, network, known)),
  };
}

function nicFacts(record: SandboxRecord, network: RecordedNetwork, { poolOf, cluster }: Known): PodNic {
  const { name, ifName, plugins } = network;
  const ips = recordedResult(network)?.ips ?? [];
  const ovs = plugins.find(({ type }) => type === "ovs");
  const coordinator = plugins.find(({ type }) => type === "coordinator");
  const mode = String(coordinator?.["mode"] ?? cluster?.mode ?? "auto");
  const table = Number(coordinator?.["hostRuleTable"] || cluster?.hostRuleTable || hostRuleTableDefault);
  return {
    network: name,
    ifName,
    addresses: ips.map(({ address, gateway }) => ({
      address,
      gateway: gateway && formatIp(gateway),
      pool: poolOf.get(formatIp(address.ip)) ?? "",
    })),
    hostLinks: hostLinksOf({ ...record, networks: [network] }),
    bridge: typeof ovs?.["bridge"] === "string" ? ovs["bridge"] : undefined,
    hostRuleTable: coordinator === undefined || mode.startsWith("disable") ? undefined : table,
  };
}

/** The network on Open vSwitch that the definition describes; a definition that cannot be read is refused where it is used. */
function networkFacts({ metadata, spec }: NetworkAttachmentDefinition): readonly NetworkFacts[] {
  const { namespace = "", name } = metadata;
  try {
    const config = parseJsonObject(spec?.config ?? "{}", "a network");
    const plugins: readonly unknown[] = Array.isArray(config["plugins"]) ? config["plugins"] : [config];
    return plugins
      .filter(isJsonObject)
      .filter(({ type, bridge }) => type === "ovs" && typeof bridge === "string")
      .map((ovs) => ({ name: `${namespace}/${name}`, bridge: String(ovs["bridge"]), vlans: vlansOf(ovs) }));
  } catch {
    return [];
  }
}

/** A trunk wins over a tag; with neither, every VLAN passes. */
function vlansOf({ vlan, trunk }: JsonObject): readonly number[] | undefined {
  if (!Array.isArray(trunk) || trunk.length === 0) return typeof vlan === "number" ? [vlan] : undefined;
  const ids = trunk.filter(isJsonObject).flatMap(({ id, minID, maxID }) => {
    const [low, high] = [Number(minID), Number(maxID)];
    const range =
      low > 0 && high >= low && high < 4096 ? Array.from({ length: high - low + 1 }, (_, at) => low + at) : [];
    return typeof id === "number" ? [id, ...range] : range;
  });
  return [...new Set(ids)].sort((a, b) => a - b);
}
