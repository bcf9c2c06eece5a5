import { SpiderError } from "#base";
import { isJsonObject, type JsonObject } from "#cni";
import type { Family } from "#ip";
import { IpSet } from "#ip";
import {
  type Decision,
  decide,
  formatExhausted,
  formatVerdict,
  masterOf,
  networkPools,
  parseRoutesAnnotation,
  type Rejection,
  type SelectionInput,
  selectionFacts,
} from "#ipam";
import {
  addFailure,
  type ConfigSource,
  type Delegate,
  decodeSettings,
  defaultNetworkAnnotation,
  type MultusSettings,
  type NetworkSelection,
  netAttachDefOf,
  networksAnnotation,
  parseDefaultNetwork,
  parseNetworks,
  planDefaultRoutes,
  planDelegates,
  resolveSelection,
  slotOf,
} from "#multus";
import { type PendingPool, pendingPools } from "./auto-pools.ts";
import type { Facts, Usage } from "./facts.ts";

/** Where agents look for configurations by name, unless the release says otherwise. */
const confDir = "/etc/cni/net.d";
/** The name by which the node's own default network goes where the cluster names none: only the node knows its plugins. */
const unknownNetwork = "the node's own network";

/** What became of one pool. */
export interface PoolReport {
  readonly pool: string;
  readonly family: Family;
  /** `free`: it has addresses; `used`: it has none left; `passed`: it may not be used here. */
  readonly state: "free" | "used" | "passed";
  /** One sentence. */
  readonly reason: string;
  readonly rejection?: Rejection;
}

/** What became, or would become, of one NIC. */
export interface NicReport {
  readonly nic: string;
  /** As the Pod's Events name it. */
  readonly network: string;
  /** Its addresses come from IPPools. */
  readonly managed: boolean;
  readonly decisions: readonly Decision[];
  readonly pools: readonly PoolReport[];
  /** Why the ADD would fail at this NIC. */
  readonly problem?: unknown;
}

/** What an ADD of the Pod on one node would come to, as far as the API server knows. */
export interface Attempt {
  readonly node: string;
  readonly nics: readonly NicReport[];
  /** What the runtime would be answered; undefined: nothing stands against it. */
  readonly failure?: unknown;
  /** It depends on files of the node, which only its agent sees. */
  readonly uncertain: boolean;
}

/** The pools whose use has to be known for an {@link attemptOn} this node. */
export function candidatePools(facts: Facts, node: string): readonly string[] {
  return attemptOn(facts, new Map(), node).nics.flatMap(({ decisions }) =>
    decisions.flatMap(({ outcome }) => (outcome.kind === "candidates" ? outcome.pools : [])),
  );
}

/** What the networks of one Pod and their pools depend on. */
export type PodScene = Pick<
  Facts,
  "pod" | "namespace" | "nodes" | "nads" | "pools" | "brokenPools" | "owner" | "installation"
>;

/** Does as the agent does, with the same functions, up to where the node itself would be asked. Never throws. */
export function attemptOn(facts: Facts, usage: Usage, node: string): Attempt {
  const { delegates, source, failure, uncertain } = delegatesOf(facts);
  if (delegates === undefined) return { node, nics: askedNetworks(facts, source), failure, uncertain: uncertain() };
  const nics = delegates.map((delegate) => nicReport(facts, usage, node, delegate));
  const failed = nics.findIndex(({ problem }) => problem !== undefined);
  const delegate = delegates[failed];
  const problem = delegate && addFailure(facts.pod, delegate, nics[failed]?.problem);
  // Only the node knows the addresses of the interface to which a virtual function belongs.
  const comparesMaster = delegates.some(({ network }) =>
    network.plugins.some(({ raw }) => masterOf(raw) !== undefined),
  );
  return { node, nics, uncertain: comparesMaster || uncertain(), ...(problem && { failure: problem }) };
}

/** The NICs of the Pod whose addresses come from IPPools, with what their network says about pools. */
export function managedNics(scene: PodScene): {
  readonly nics: readonly { readonly nic: string; readonly network: SelectionInput["network"] }[];
  /** Why the Pod has no networks at all. */
  readonly failure?: unknown;
  /** It depends on files of the node, which only its agent sees. */
  readonly uncertain: boolean;
} {
  const { delegates = [], failure, uncertain } = delegatesOf(scene);
  const nics = delegates.flatMap(({ ifName: nic, network }) => {
    const config = network.plugins.map(({ raw }) => raw).find(isManaged);
    return config === undefined ? [] : [{ nic, network: networkPools(config) }];
  });
  return { nics, uncertain: uncertain(), ...(failure !== undefined && { failure }) };
}

function delegatesOf(scene: PodScene): {
  readonly delegates?: readonly Delegate[];
  readonly source: ConfigSource;
  readonly failure?: unknown;
  readonly uncertain: () => boolean;
} {
  const { namespace, annotations } = scene.pod;
  const { source, uncertain } = sourceOf(scene);
  try {
    const pod = { namespace, annotations };
    const delegates = planDelegates({ settings: settingsOf(scene), source, ifName: "eth0", pod });
    planDefaultRoutes(delegates);
    return { delegates, source, uncertain };
  } catch (failure) {
    return { source, failure, uncertain };
  }
}

/** Where the plan as a whole fails: each network that the Pod asks for, with what is wrong with it by itself. */
function askedNetworks(facts: Facts, source: ConfigSource): readonly NicReport[] {
  const { namespace, annotations } = facts.pod;
  const { [defaultNetworkAnnotation]: byPod = "", [networksAnnotation]: networks = "" } = annotations;
  const settings = settingsOf(facts);
  const byDefault = readable(() => (byPod.trim() === "" ? [] : [parseDefaultNetwork(byPod, settings.multusNamespace)]));
  const selected = readable(() => parseNetworks(networks, namespace));
  const asked = [
    ...byDefault.map((one) => ({ ...one, nic: "eth0" })),
    ...selected.map((one, at) => ({ ...one, nic: one.interface ?? `net${at + 1}` })),
  ];
  return asked.map(({ nic, ...selection }): NicReport => {
    const bare = { nic, network: `${selection.namespace}/${selection.name}`, managed: false, decisions: [], pools: [] };
    try {
      const { network } = resolveSelection(selection, settings, source);
      return { ...bare, managed: network.plugins.some(({ raw }) => isManaged(raw)) };
    } catch (problem) {
      return { ...bare, problem };
    }
  });
}

/** What an annotation selects; nothing where it cannot be read, which is a failure of its own. */
function readable(read: () => readonly NetworkSelection[]): readonly NetworkSelection[] {
  try {
    return read();
  } catch {
    return [];
  }
}

/** The default network and its namespace, as the agent writes them into the configuration that the runtime reads. */
function settingsOf({ installation: { namespace, clusterNetwork } }: PodScene): MultusSettings {
  const [network = "", within] = clusterNetwork.split("/").toReversed();
  const own = { name: unknownNetwork, type: "unknown" };
  return decodeSettings({
    multusNamespace: within ?? namespace,
    confDir,
    ...(network === "" ? { delegates: [own] } : { clusterNetwork: network }),
  });
}

function sourceOf({ nads }: PodScene): { readonly source: ConfigSource; readonly uncertain: () => boolean } {
  let asked = false;
  const unseen = () => {
    asked = true;
    return undefined;
  };
  const source: ConfigSource = {
    nad: (namespace, name) => {
      const nad = nads.get(`${namespace}/${name}`);
      return nad && { ...nad, metadata: { ...nad.metadata, namespace } };
    },
    directory: unseen,
    file: unseen,
  };
  return { source, uncertain: () => asked };
}

function nicReport(facts: Facts, usage: Usage, node: string, delegate: Delegate): NicReport {
  const { ifName: nic, displayName: network } = delegate;
  const config = delegate.network.plugins.map(({ raw }) => raw).find(isManaged);
  const bare = { nic, network, managed: config !== undefined };
  if (config === undefined) return { ...bare, decisions: [], pools: [] };
  try {
    const decisions = decide(selectionOf(facts, node, nic, networkPools(config)));
    const pending = pendingPools(facts, nic, decisions);
    if (pending.length > 0) return { ...bare, decisions, ...pendingReport(facts, decisions, pending) };
    const pools = decisions.flatMap((decision) => poolReports(facts, usage, nic, decision));
    const problem = problemOf(facts, nic, decisions, pools);
    return { ...bare, decisions, pools, ...(problem && { problem }) };
  } catch (problem) {
    return { ...bare, decisions: [], pools: [], problem };
  }
}

/** A Pod that is not made yet gets the pools that can be made; of one that waits for them it is said why. */
function pendingReport(
  { pod }: Facts,
  decisions: readonly Decision[],
  pending: readonly PendingPool[],
): Pick<NicReport, "pools" | "problem"> {
  const stuck = pending.flatMap(({ subnet, why }) => (why === undefined ? [] : [`SpiderSubnet ${subnet} ${why}`]));
  if (stuck.length > 0 || pod.state !== "new") return { pools: [], problem: refusalOf(decisions, stuck.join("; ")) };
  const pools = pending.map(({ name, family, subnet, size }): PoolReport => {
    const count = size === undefined ? "" : `, ${size} addresses`;
    return { pool: name, family, state: "free", reason: `the controller makes it from SpiderSubnet ${subnet}${count}` };
  });
  return { pools };
}

function isManaged({ ipam }: JsonObject): boolean {
  return isJsonObject(ipam) && ipam["type"] === "spiderpool";
}

/** What the selection of pools for a NIC on a node depends on. */
export function selectionOf(
  facts: PodScene,
  node: string,
  nic: string,
  network: SelectionInput["network"] = { pools: { 4: [], 6: [] }, cleanGateway: false },
): SelectionInput {
  const { pod, installation, pools, brokenPools, owner } = facts;
  return {
    nic,
    slot: slotOf(nic, pod),
    families: installation.families,
    ...selectionFacts({
      pod,
      namespace: facts.namespace?.metadata,
      node: facts.nodes.get(node)?.metadata,
      nodeName: node,
    }),
    owner,
    pools,
    brokenPools,
    network,
    netAttachDef: netAttachDefOf(nic, pod, installation),
    agentNamespace: installation.namespace,
    masterAddresses: undefined,
    settings: installation.settings,
  };
}

function poolReports(facts: Facts, usage: Usage, nic: string, decision: Decision): readonly PoolReport[] {
  const { family, steps } = decision;
  if (family === undefined) return [];
  const reports = steps.map((step): PoolReport => {
    const { pool } = step;
    if (!step.accepted) return { pool, family, state: "passed", reason: formatVerdict(step), rejection: step };
    const { allowed, free } = roomOf(facts, usage, pool);
    if (free > 0n) return { pool, family, state: "free", reason: `${free} of ${allowed} addresses are free` };
    const view = facts.pools.get(pool);
    const reason = view === undefined ? "" : (exhaustion(facts, nic, family, [pool]).message.split(": ").at(-1) ?? "");
    return { pool, family, state: "used", reason };
  });
  if (decision.outcome.kind === "candidates") return inOrderOf(decision.outcome.pools, reports);
  return reports;
}

/** Candidates in the order in which they are tried, then those passed over. */
function inOrderOf(names: readonly string[], reports: readonly PoolReport[]): readonly PoolReport[] {
  const tried = names.flatMap((name) => reports.find(({ pool }) => pool === name) ?? []);
  return [...tried, ...reports.filter((one) => !tried.includes(one))];
}

/** How many addresses the pool may hand out, and how many of them nobody has. */
function roomOf(
  { pools, reserved }: Pick<Facts, "pools" | "reserved">,
  usage: Usage,
  pool: string,
): { readonly allowed: bigint; readonly free: bigint } {
  const view = pools.get(pool);
  if (view === undefined) return { allowed: 0n, free: 0n };
  const allowed = view.set.subtract(reserved(view.family));
  const used = IpSet.ofIps(
    view.family,
    (usage.get(pool) ?? []).map(({ ip }) => ip),
  );
  return { allowed: allowed.size, free: allowed.subtract(used).size };
}

/** The first thing that stands against the NIC, in the order in which the agent would meet it. */
function problemOf(
  facts: Facts,
  nic: string,
  decisions: readonly Decision[],
  reports: readonly PoolReport[],
): SpiderError | undefined {
  const refusal = refusalOf(decisions);
  if (refusal !== undefined) return refusal;
  parseRoutesAnnotation(facts.pod.annotations);
  for (const { family, outcome } of decisions) {
    if (family === undefined || outcome.kind === "refused") continue;
    const isUsedUp = outcome.pools.every((name) =>
      reports.some(({ pool, state, family: of }) => pool === name && of === family && state === "used"),
    );
    if (!isUsedUp) continue;
    const { message, fix } = exhaustion(facts, nic, family, outcome.pools);
    return new SpiderError("POOL_EXHAUSTED", message, { details: { fix } });
  }
  return undefined;
}

/** What the agent would answer, with the fix that it gives unless a better one is known. */
function refusalOf(decisions: readonly Decision[], fix = ""): SpiderError | undefined {
  for (const { outcome } of decisions) {
    if (outcome.kind !== "refused") continue;
    return new SpiderError(outcome.code, outcome.message, { details: { fix: fix || outcome.fix } });
  }
  return undefined;
}

function exhaustion(facts: Facts, nic: string, family: Family, names: readonly string[]) {
  const exhausted = names.flatMap((name) => {
    const pool = facts.pools.get(name);
    const { allowed } = roomOf(facts, new Map(), name);
    return pool === undefined ? [] : [{ pool, evidence: { allowed, freeByUsage: 0n, own: 0n, met: 0n } }];
  });
  return formatExhausted(nic, family, exhausted);
}
