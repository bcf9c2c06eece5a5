import { join } from "node:path";
import { metadataOf, namespaces } from "#kube";
import { Intents, Ledger, reservedSets } from "#ledger";
import { bootId } from "#linux";
import type { After } from "../after.ts";
import type { Calls } from "../calls.ts";
import { ClaimsReconciler } from "../claims.ts";
import { cutOff } from "../cut.ts";
import { Endpoints } from "../endpoints.ts";
import { createIpam } from "../ipam.ts";
import { LedgerEpoch } from "../ledger-epoch.ts";
import { masterAddresses } from "../master.ts";
import { findPod } from "../pods.ts";
import { Returned } from "../returned.ts";
import type { Context } from "./context.ts";

/** What addresses need of the parts that are made after them. */
export interface Later {
  readonly exclusive: Calls["exclusive"];
  readonly claimedAgain: After["claimedAgain"];
}

/** The ledger, what keeps it true, and the IPAM that plugins ask. */
export type Addresses = ReturnType<typeof createAddresses>;

/** They know each other in circles: what is asked back is asked by a function, when all are there. */
export function createAddresses(context: Context, { exclusive, claimedAgain }: Later) {
  const { options, log, clock, tasks, cluster, settings, families, host, records, events, owners, metrics } = context;
  const { node, namespace, clusterNetwork, autoPoolWaitMs, lookEveryMs } = options;
  const { client, podStore, nodeStore, namespaceStore, reservedStore, pools } = cluster;
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
    cut: (record) => cutOff(record, host),
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
    lookEveryMs,
    nodes: () => cluster.release?.nodes ?? 1,
    clock,
    log,
  });
  const epoch: LedgerEpoch = new LedgerEpoch({
    ...{ client, clock, log, node, pools: cluster.poolMetadata, lost: cluster.relist },
    recalled: (o) => ledger.recalled(o),
    check: (o) => returned.checkEvery(o),
    isWhole: () => returned.isWhole,
    complete: (o) => returned.begin(o),
    takeUp: (o) => claims.takeUp(o),
  });
  const endpoints: Endpoints = new Endpoints({ client, clock, ledger, owners, node, settings });
  const ipamFor = createIpam({
    ledger,
    pools,
    pods: podStore,
    // The ADD has waited for the watch already.
    findPod: (ref, o) => findPod({ store: podStore, client, node }, ref, { ...o, lagMs: 0 }),
    // What it says of pools must not be missed: the Pod would have an address of another one for all its life.
    namespaceOf: async (name, o) => namespaceStore.get(name) ?? client.get(metadataOf(namespaces), { name }, o),
    nodes: nodeStore,
    owners,
    open: (o) => epoch.open(o),
    endpoints,
    clock,
    hasSandbox: (podUid, except) => claims.hasSandbox(podUid, except),
    hasMac: (podUid, mac) => claims.hasMac(podUid, mac),
    masterAddresses: (device) => masterAddresses(device, host),
    waits: () => metrics.waits(),
    autoPoolWaitMs,
    node,
    namespace,
    clusterNetwork,
    families,
    settings,
  });
  return { ledger, returned, claims, epoch, endpoints, ipamFor };
}
