import { join } from "node:path";
import { spiderIPAddresses } from "#api";
import type { Ip } from "#ip";
import { type EventRecorder, metadataOf, namespaces, type Pod, subjectOf } from "#kube";
import { type Claim, formatAction, Intents, Ledger, type ReleaseReason, reservedSets } from "#ledger";
import { bootId } from "#linux";
import { type ClaimsOptions, ClaimsReconciler } from "../addresses/claims.ts";
import { Endpoints } from "../addresses/endpoints.ts";
import { IgnoredKeys } from "../addresses/ignored-keys.ts";
import { createIpam } from "../addresses/ipam.ts";
import { LedgerEpoch } from "../addresses/ledger-epoch.ts";
import { Returned } from "../addresses/returned.ts";
import type { Calls } from "../calls/calls.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { findPod } from "../cluster/pods.ts";
import type { CallMetrics } from "../http/metrics.ts";
import type { AgentOptions } from "../options.ts";
import type { SandboxRecord } from "../sandboxes/records.ts";
import type { Context } from "./context.ts";

/** The part of the {@link Context} that is used here. */
type AddressContext = Pick<Context, "log" | "clock" | "tasks" | "settings" | "families" | "records" | "owners"> & {
  readonly options: Pick<
    AgentOptions,
    "node" | "namespace" | "clusterNetwork" | "runDir" | "autoPoolWaitMs" | "lookEveryMs"
  >;
  readonly cluster: Pick<
    Cluster,
    "client" | "podStore" | "nodeStore" | "namespaceStore" | "reservedStore" | "poolMetadata" | "pools" | "relist"
  >;
  readonly events: Pick<EventRecorder, "record">;
  readonly metrics: Pick<CallMetrics, "fault" | "waits">;
};

/** What addresses need of the node, and of parts that are created after them. */
interface Surroundings extends Pick<ClaimsOptions, "nodes" | "random"> {
  readonly exclusive: Calls["exclusive"];
  readonly claimedAgain: (pod: Pod) => void;
  /** Takes a sandbox off the network. */
  readonly cut: (record: SandboxRecord) => void;
  /** Addresses of the interface whose virtual function has this PCI address. */
  readonly masterAddresses: (device: string) => readonly Ip[];
}

/** The ledger, what keeps it true, and the IPAM that plugins ask. */
export type Addresses = ReturnType<typeof createAddresses>;

/** Creates everything that has to do with addresses. */
export function createAddresses(context: AddressContext, surroundings: Surroundings) {
  const { options, clock, cluster, settings, families, owners, metrics } = context;
  const { node, namespace, clusterNetwork, autoPoolWaitMs } = options;
  const { client, podStore, nodeStore, namespaceStore, pools } = cluster;
  const kept = createLedger(context, surroundings);
  const { ledger, claims, epoch, endpoints } = kept;
  const ignored = new IgnoredKeys(context.log);
  const ipamOf = createIpam({
    ledger,
    pools,
    pods: podStore,
    // The ADD has already waited for the watch.
    findPod: (ref, o) => findPod({ store: podStore, client, node }, ref, { ...o, lagMs: 0 }),
    // A namespace that the watch does not show yet must be asked for: without its default pools the Pod would get, for all its
    // life, an address of another pool.
    namespaceOf: async (name, o) => namespaceStore.get(name) ?? client.get(metadataOf(namespaces), { name }, o),
    nodes: nodeStore,
    owners,
    open: (o) => epoch.open(o),
    endpoints,
    clock,
    hasSandbox: (podUid, except) => claims.hasSandbox(podUid, except),
    hasMac: (podUid, mac) => claims.hasMac(podUid, mac),
    masterAddresses: surroundings.masterAddresses,
    waits: () => metrics.waits(),
    autoPoolWaitMs,
    node,
    namespace,
    clusterNetwork,
    families,
    settings,
  });
  const ipamFor: typeof ipamOf = (config) => {
    ignored.see(config);
    return ipamOf(config);
  };
  return { ...kept, ipamFor };
}

/** The ledger and what keeps it true. These parts ask each other in circles, so each asks by a function, once all exist. */
function createLedger(context: AddressContext, { exclusive, claimedAgain, cut, nodes, random }: Surroundings) {
  const { options, log, clock, tasks, cluster, settings, records, events, owners, metrics } = context;
  const { node, namespace, lookEveryMs } = options;
  const { client, podStore, reservedStore, pools } = cluster;
  const intents = new Intents(join(options.runDir, "intent"));
  const ledger = new Ledger({
    client,
    clock,
    log,
    node,
    bootId: bootId(),
    intents,
    reserved: reservedSets(reservedStore, log),
    inUse: (claim) => claims.inUse(claim),
    open: (o) => epoch.open(o),
    isIndexed: (claim, o) => endpoints.names(claim, o),
    signal: tasks.signal,
  });
  const returned = new Returned({
    ledger,
    records,
    pools,
    pods: podStore,
    events,
    settings,
    fault: (kind) => metrics.fault(kind),
    exclusive,
    claimed: claimedAgain,
    cut,
    clock,
    log,
  });
  const claims: ClaimsReconciler = new ClaimsReconciler({
    ledger,
    intents,
    records,
    pods: podStore,
    returned,
    fault: (kind) => metrics.fault(kind),
    leaked: (claim, found) => tellReclaimed(context, claim, found),
    lookEveryMs,
    nodes,
    ...(random !== undefined && { random }),
    clock,
    log,
  });
  const epoch: LedgerEpoch = new LedgerEpoch({
    client,
    clock,
    log,
    node,
    namespace,
    pools: cluster.poolMetadata,
    lost: cluster.relist,
    recalled: (o) => ledger.recalled(o),
    check: (o) => returned.checkEvery(o),
    isWhole: () => returned.isWhole,
    complete: (o) => returned.begin(o),
    takeUp: (o) => ledger.takeUp(o),
  });
  const endpoints: Endpoints = new Endpoints({ client, clock, ledger, owners, node, settings });
  return { ledger, returned, claims, epoch, endpoints };
}

function tellReclaimed(
  { options, events }: Pick<AddressContext, "events" | "options">,
  { name, uid, spec }: Claim,
  { why, evidence }: ReleaseReason,
): void {
  const message = formatAction(spec, "was released", { why, evidence: [`node ${options.node}`, ...evidence] });
  const subject = subjectOf(spiderIPAddresses, { metadata: { name, uid } });
  events.record(subject, { type: "Normal", reason: "AddressReclaimed", message });
}
