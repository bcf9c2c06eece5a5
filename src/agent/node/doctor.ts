import type { NetworkAttachmentDefinition } from "#api";
import { abortable, type Clock, formatError, isJsonObject, type JsonObject, type Logger, type Signal } from "#base";
import { type CniResult, parseJsonObject } from "#cni";
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
  observeRivals,
  type PodFacts,
  type PodNic,
  runChecks,
} from "#doctor";
import { formatIp, type Ip, sameIp } from "#ip";
import { type EventRecorder, nodeSubject } from "#kube";
import type { Claim } from "#ledger";
import type { ClusterConfig } from "#plugins";
import type { AgentOptions } from "../options.ts";
import { isSandboxThere, type RecordedNetwork, recordedResult, type SandboxRecord } from "../sandboxes/records.ts";
import { hostLinksOf } from "./host-state.ts";

/** How often findings are published again. Older ones count as repaired (`publishedMsMax`). */
const everyMs = 600_000;
/** The time after the start until the first look, so that the node's Pods start first. */
const firstMs = 60_000;
/** If Open vSwitch is missed for longer than this, there is a look at once. A restart takes less. */
const missedMs = 3_000;
/** Between the two looks that a published finding takes: the ends of Pods that were under way are over by then. */
const confirmMs = 10_000;
const hostRuleTableDefault = 500;

/** The part of the node's state that the agent has in memory. The rest is read from the node. */
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
 * What to look at on this node. In the agent's Pod the node's `/etc`, `/run` and `/usr/lib` are below `/host`; the runtime's
 * directories have the same paths as on the node.
 */
export function observed(
  { node, namespace, ovsdb: endpoint, stateDir, cniConfDir, cniBinDir }: AgentOptions,
  { host, ovs }: Pick<ObserveOptions, "host" | "ovs">,
): DoctorOptions["observe"] {
  const { confDir, binDir } = nodePaths;
  const paths = { ...nodePaths, root: "/host", stateDir, confDir: cniConfDir ?? confDir, binDir: cniBinDir ?? binDir };
  return { node, namespace, host, ovs, endpoint, paths };
}

/** Looks at the node now. Returns the findings of all checks. */
export async function examineNode(options: DoctorOptions, { signal }: Signal): Promise<readonly Finding[]> {
  const { observe, clock } = options;
  const pods = podsOf(options);
  const networks = options.nads().flatMap(networkFacts);
  const facts = await observeNode({ ...observe, networks, pods, now: clock.wall(), signal, isAgent: true });
  return runChecks(nodeChecks, facts, observe.node);
}

/** Every NIC of a Pod (`namespace/name`) as it is on the node now; none if it has no sandbox here. */
export async function showNetworks(
  options: DoctorOptions,
  pod: string,
  { signal }: Signal,
): Promise<readonly NicPath[]> {
  const pods = podsOf(options).filter((one) => one.pod === pod);
  const [gateways, rivals] = await Promise.all([
    observeGateways(pods, signal),
    Promise.all(pods.map((one) => observeRivals(one, signal))),
  ]);
  const answered = (gateway: string) => gateways.find((one) => one.gateway === gateway)?.answered;
  return pods.flatMap((one, at) =>
    observePaths(one, { ...options.observe, answered, rival: (ip) => rivals[at]?.get(ip) }),
  );
}

/**
 * What two looks in a row find. A Pod that ends, for example when its node is drained, loses its NIC before its record, and a port its
 * device before itself.
 */
export async function findTwice(
  look: (o: Signal) => Promise<readonly Finding[]>,
  clock: Clock,
  o: Signal,
): Promise<readonly Finding[]> {
  const keyOf = ({ id, found }: Finding) => `${id} ${found}`;
  const first = new Set((await look(o)).map(keyOf));
  if (first.size === 0) return [];
  await clock.sleep(confirmMs, o);
  return (await look(o)).filter((finding) => first.has(keyOf(finding)));
}

function podsOf({ records, claims, coordinator }: DoctorOptions): readonly PodFacts[] {
  const poolOf = new Map([...claims()].map(({ ip, spec }) => [formatIp(ip), spec.pool]));
  const known = { poolOf, cluster: coordinator() };
  return records()
    .filter((record) => record.complete && record.cut !== true && isSandboxThere(record))
    .map((record) => podFacts(record, known));
}

/** Calls the listener whenever something has changed, until the returned function is called. */
type Changes = (listener: () => void) => () => void;

/** Looks at the node again and again, and publishes what two looks found as Events on it, until the signal aborts. */
export async function runDoctor(
  options: DoctorOptions & {
    readonly events: Pick<EventRecorder, "record">;
    /** Changes of network definitions. A new one may be the first that needs Open vSwitch. */
    readonly nadsChanged: Changes;
    readonly log: Logger;
  },
  { signal }: Signal,
): Promise<void> {
  const { clock, log, events, observe, nadsChanged } = options;
  const { node, ovs } = observe;
  const subject = nodeSubject(node);
  using rounds = new Rounds({ clock, isMissed: () => isOvsMissed(options) });
  using ends = new DisposableStack();
  for (const changed of [nadsChanged, (listener: () => void) => ovs.changed(listener)]) {
    ends.defer(changed(() => rounds.changed()));
  }
  rounds.changed();
  for (;;) {
    await rounds.next({ signal });
    try {
      for (const finding of await findTwice((o) => examineNode(options, o), clock, { signal })) {
        events.record(subject, eventOf(finding));
        log.warn({ node, check: finding.id, found: finding.found }, "the doctor found something");
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ node, err: formatError(error) }, "the node could not be examined");
    }
  }
}

/** True if networks or Pods of this node need Open vSwitch, and its database is away. */
function isOvsMissed(options: DoctorOptions): boolean {
  if (options.observe.ovs.state.kind === "connected") return false;
  return bridgesOf({ networks: options.nads().flatMap(networkFacts), pods: podsOf(options) }).size > 0;
}

interface RoundsOptions {
  /** Whether Open vSwitch is needed, but away. */
  readonly isMissed: () => boolean;
  readonly clock: Clock;
}

/** When the doctor looks: a minute after the start, then every ten, and once as soon as Open vSwitch is missed for `missedMs`. */
export class Rounds implements Disposable {
  readonly #options: RoundsOptions;
  #dueMs: number;
  /** Cancels the look that was scheduled because Open vSwitch is missed; undefined if there is none. */
  #found: (() => void) | undefined;
  #wake = () => {};

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#dueMs = options.clock.monotonicMs() + firstMs;
  }

  /** To be called whenever the result of `isMissed` may have changed. */
  changed(): void {
    const { clock, isMissed } = this.#options;
    if (!isMissed()) {
      this.#found?.();
      this.#found = undefined;
      return;
    }
    this.#found ??= clock.after(missedMs, () => {
      if (!isMissed()) return;
      this.#dueMs = clock.monotonicMs();
      this.#wake();
    });
  }

  /** Resolves when it is time to look; rejects with the signal's reason when that aborts first. */
  async next({ signal }: Signal): Promise<void> {
    const { clock } = this.#options;
    while (clock.monotonicMs() < this.#dueMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const cancel = clock.after(this.#dueMs - clock.monotonicMs(), resolve);
      try {
        await abortable(promise, signal);
      } finally {
        cancel();
      }
    }
    this.#dueMs = clock.monotonicMs() + everyMs;
  }

  [Symbol.dispose](): void {
    this.#found?.();
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
  const result = recordedResult(network);
  const ovs = plugins.find(({ type }) => type === "ovs");
  const coordinator = plugins.find(({ type }) => type === "coordinator");
  const mode = String(coordinator?.["mode"] ?? cluster?.mode ?? "auto");
  const table = Number(coordinator?.["hostRuleTable"] || cluster?.hostRuleTable || hostRuleTableDefault);
  return {
    network: name,
    ifName,
    addresses: (result?.ips ?? []).map(({ address, gateway }) => ({
      address,
      gateway: gateway !== undefined && isUsed(gateway, result?.routes ?? []) ? formatIp(gateway) : undefined,
      pool: poolOf.get(formatIp(address.ip)) ?? "",
    })),
    hostLinks: hostLinksOf({ ...record, networks: [network] }),
    hasLink: result?.interfaces.some(({ name: one, sandbox = "" }) => one === ifName && sandbox !== "") === true,
    bridge: typeof ovs?.["bridge"] === "string" ? ovs["bridge"] : undefined,
    hostRuleTable: coordinator === undefined || mode.startsWith("disable") ? undefined : table,
  };
}

/** `host-local` names a gateway where nobody routes by it, too: then none need be there. A route without one is by it. */
export function isUsed(gateway: Ip, routes: CniResult["routes"]): boolean {
  return routes.some(({ dst, gw }) => (gw === undefined ? dst.ip.family === gateway.family : sameIp(gw, gateway)));
}

/** The network on Open vSwitch that a definition describes, if any. A malformed definition is ignored here; its ADDs fail. */
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

/** A trunk takes precedence over a tag. Without both, every VLAN passes. */
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
