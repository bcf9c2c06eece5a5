/**
 * The controller: keeps the views of pools that users read, defaults and validates objects (in admission, and later those that
 * bypassed it), renders networks, and finds out the cluster's address ranges. Allocation goes on without it.
 *
 * It does not allocate addresses, and releases only those whose node no longer can. Nothing imports it.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { decodeSettings, type SpiderIPAddress } from "#api";
import { type Clock, type Logger, never, type Signal, systemClock, Tasks } from "#base";
import {
  type ControllerOptions,
  createTransport,
  EventRecorder,
  KubeClient,
  LeaderElector,
  loadKubeConfig,
  runController,
  type Term,
  type Transport,
} from "#kube";
import { reservedSets } from "#ledger";
import { certificateControllers, watchCertificates } from "./certificates/replica.ts";
import { Collector, observationsApartMs } from "./collector/collector.ts";
import { runOutdatedEndpoints } from "./collector/endpoints.ts";
import { runMissingEndpoints } from "./collector/missing-endpoints.ts";
import type { Probe } from "./collector/observe.ts";
import { coordinatorController } from "./coordinator/sync.ts";
import type { Deps } from "./deps.ts";
import { Doubts } from "./doubts/doubts.ts";
import { createMetrics, queueMetrics } from "./http/metrics.ts";
import { serve } from "./http/servers.ts";
import { LedgerEpoch } from "./ledger-epoch/epoch.ts";
import { LossMark } from "./ledger-epoch/mark.ts";
import { Rewind } from "./ledger-epoch/rewind.ts";
import { defaultNetworkController } from "./networks/default-network.ts";
import { ignoredKeysController } from "./networks/ignored-keys.ts";
import { multusConfigController } from "./networks/multus-configs.ts";
import type { ControllerProgramOptions } from "./options.ts";
import { poolDefaultsController } from "./pools/defaults.ts";
import { poolDrainController } from "./pools/drain.ts";
import { indexOf } from "./pools/index-of.ts";
import { Judgements } from "./pools/judgements.ts";
import { poolStatusController } from "./pools/status.ts";
import { poolUsageController } from "./pools/usage.ts";
import { PoolUses } from "./pools/uses.ts";
import { type Replica, storesOf } from "./replica.ts";
import { watchNamespaces, watchStores } from "./stores.ts";
import { subnetDrainController } from "./subnets/drain.ts";
import { brokenWorkloadsController, type SubnetStores, subnetPartsController } from "./subnets/parts.ts";
import { Workloads } from "./subnets/workloads.ts";
import { takeOver } from "./takeover/take-over.ts";

/** Fixed, because replicas of different versions compete for it. */
const leaseName = "spiderpool-controller-leases";

/**
 * How long admission is answered after the end has begun. The Service leads to a Pod that ends until every node knows of it, and what
 * API servers ask meanwhile is refused if nobody answers.
 */
const admissionEndMs = 5_000;

/** Connects to the cluster and runs until `signal` aborts. */
export async function runProgram(options: ControllerProgramOptions, log: Logger, o: Signal): Promise<void> {
  const { configPath, kubeconfig } = options;
  const clock = systemClock;
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting has no effect");
  for (const variable of options.withoutEffect) log.warn({ variable }, "a variable that is set has no effect any more");
  using transport = createTransport(loadKubeConfig({ kubeconfig }), { clock });
  // API servers ask only over TLS.
  const endMs = options.tls === undefined ? 0 : admissionEndMs;
  await runReplica(options, { transport, clock, log, settings, endMs }, o);
}

interface ReplicaDeps extends Pick<Deps, "log" | "settings"> {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Probes an address in quarantine on the wire. @default no probe */
  readonly probe?: Probe;
  /** How long admission is answered after the end has begun. @default 0 */
  readonly endMs?: number;
}

/** Runs one replica: its stores and its admission always run, its controllers while it leads. */
export async function runReplica(
  options: ControllerProgramOptions,
  { transport, clock, log, settings, probe, endMs = 0 }: ReplicaDeps,
  { signal }: Signal,
): Promise<void> {
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-controller" });
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-controller" });
  const metrics = createMetrics();
  const deps: Deps = { client, clock, log, events, metrics, settings };
  const tasks = new Tasks(log);
  const stores = watchStores(deps);
  const rewind = new Rewind();
  const replica: Replica = {
    stores,
    rewind,
    mark: new LossMark(),
    uses: new PoolUses(stores.pools, stores.claims, { clock, coolDownMs: settings.coolDown * 1_000 }),
    poolIndex: indexOf(stores.pools),
    subnetIndex: indexOf(stores.subnets),
    reserved: reservedSets(stores.reserved, log),
    elector: new LeaderElector({
      client,
      clock,
      log,
      ...options.leader,
      namespace: options.namespace,
      name: leaseName,
      identity: `${options.podName}_${randomUUID()}`,
      rewound: () => rewind.happened(),
    }),
    certificates: watchCertificates(options, deps),
    namespaces: settings.podResourceInject.enabled ? watchNamespaces(deps) : undefined,
    collector: undefined,
  };
  metrics.collect("spiderpool_events_dropped", () => [{ value: events.dropped }]);
  metrics.collect("spiderpool_ip_gc_pending", () => [{ value: replica.collector?.pending ?? 0 }]);
  await using _servers = await serve(options, deps, replica);
  stores.pools.rewound(() => rewind.happened());
  rewind.follow(storesOf(replica).map(([, store]) => store));
  for (const [name, store] of storesOf(replica)) {
    tasks.spawn(`watch ${name}`, (stop) => store.run({ signal: stop }));
  }
  tasks.spawn("events", (stop) => events.run({ signal: stop }));
  const lease = { namespace: options.namespace, name: leaseName };
  tasks.spawn("mark of a lost ledger", (stop) => replica.mark.run(deps, lease, { signal: stop }));
  try {
    await replica.elector.run((term) => lead(deps, options, replica, { probe, term }), { signal });
    // Another replica leads meanwhile.
    if (endMs > 0) await clock.sleep(endMs, { signal: never });
  } finally {
    await tasks.stop();
  }
}

function controllersOf(
  deps: Deps,
  options: ControllerProgramOptions,
  { stores, uses, poolIndex, subnetIndex, reserved, collector, certificates, elector }: Replica,
  {
    term,
    epoch,
    workloads,
  }: { readonly term: Term; readonly epoch: LedgerEpoch; readonly workloads: Workloads | undefined },
): readonly ControllerOptions[] {
  const { namespace, clusterNetwork, createsNetwork, coordinator, multusConfigs, listedIps: listed } = options;
  const judgements = new Judgements();
  const agents = () => collector?.nodes ?? 0;
  const { pools, subnets, usages, networks, coordinators } = stores;
  // A restored server would have refused the last renewal of the Lease.
  const isComplete = () => epoch.isComplete && elector.isRenewed;
  return [
    ...certificateControllers(deps, options, certificates),
    poolDefaultsController(deps, { pools, subnets, poolIndex, subnetIndex, judgements }),
    poolDrainController(deps, { pools, uses, isComplete }),
    subnetDrainController(deps, { subnets, pools }),
    ...subnetControllers(deps, { pools, subnets, uses, reserved, reservations: stores.reserved, workloads }),
    poolStatusController(deps, { pools, uses, judgements, agents, listed, epoch }),
    poolUsageController(deps, { uses, usages, reserved, reservations: stores.reserved, epoch: term.epoch }),
    ignoredKeysController(deps, { networks }),
    ...(multusConfigs ? [multusConfigController(deps, stores)] : []),
    ...(coordinator === undefined ? [] : [coordinatorController(deps, { coordinators, ...coordinator })]),
    ...(clusterNetwork === ""
      ? []
      : [defaultNetworkController(deps, { network: clusterNetwork, creates: createsNetwork, namespace, networks })]),
  ];
}

function subnetControllers(deps: Deps, stores: SubnetStores): readonly ControllerOptions[] {
  if (!deps.settings.enableSpiderSubnet) return [];
  const { workloads } = stores;
  return [
    subnetPartsController(deps, stores),
    ...(workloads === undefined ? [] : [brokenWorkloadsController(deps, workloads)]),
  ];
}

/** Runs everything that only the leader does, until the term ends. */
async function lead(
  deps: Deps,
  options: ControllerProgramOptions,
  replica: Replica,
  { probe, term }: { readonly probe: Probe | undefined; readonly term: Term },
): Promise<void> {
  const { signal } = term;
  const { collection, namespace, agentComponent } = options;
  const { claims, pools } = replica.stores;
  const agent = { namespace, component: agentComponent };
  const doubts = new Doubts(deps, { claims, pod: (key) => collector.pod(key) });
  const doubt = (claim: SpiderIPAddress) => doubts.about(claim);
  const found = { claims, pools, agent, doubt, ...(probe !== undefined && { probe }) };
  const collector: Collector = new Collector(deps, { ...collection, ...found });
  replica.collector = collector;
  const epoch = new LedgerEpoch(deps, {
    pools,
    synced: (o) => Promise.all([pools.synced(o), collector.synced(o), replica.mark.synced(o)]),
    lease: { namespace, name: leaseName },
    agents: () => collector.agents(),
    takeOver: (o) => takeOver(deps, o),
    rewind: replica.rewind,
    mark: replica.mark,
  });
  const { enableSpiderSubnet, enableAutoPoolForApplication } = deps.settings;
  const workloads = enableSpiderSubnet && enableAutoPoolForApplication ? new Workloads(deps) : undefined;
  const metrics = queueMetrics(deps.metrics);
  const outdated = {
    ...collection,
    apartMs: observationsApartMs,
    hasPod: (key: string) => collector.pod(key) !== undefined,
  };
  const unfollow = replica.rewind.follow([...collector.stores, epoch.store, ...(workloads?.stores ?? [])]);
  try {
    await Promise.all([
      collector.run({ signal }),
      epoch.run({ signal }),
      runMissingEndpoints(deps, { claims, pod: (key) => collector.pod(key) }, { signal }),
      ...(deps.settings.enableCleanOutdatedEndpoint ? [runOutdatedEndpoints(deps, outdated, { signal })] : []),
      ...(workloads?.stores ?? []).map((store) => store.run({ signal })),
      ...[...controllersOf(deps, options, replica, { term, epoch, workloads }), doubts.controller()].map((one) =>
        runController({ ...one, metrics }, { signal }),
      ),
    ]);
  } finally {
    unfollow();
    replica.collector = undefined;
  }
}
