/**
 * The controller: it keeps the views that users read of pools, fills in and judges objects (admission, and repair of what
 * came in without it), renders networks, and keeps the cluster's ranges. Allocation goes on without it.
 *
 * It will not allocate or release addresses. Nothing imports it.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  decodeSettings,
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderPoolUsages,
  spiderSubnets,
} from "#api";
import { type Clock, type Logger, type Signal, systemClock, Tasks } from "#base";
import {
  type ControllerOptions,
  createTransport,
  EventRecorder,
  KubeClient,
  type KubeObject,
  LeaderElector,
  loadKubeConfig,
  runController,
  type StoreOptions,
  type Term,
  type Transport,
  WatchedStore,
} from "#kube";
import { admissionKinds } from "./admission/kinds.ts";
import { admissionRoutes } from "./admission/routes.ts";
import { coordinatorController } from "./coordinator/sync.ts";
import type { Deps } from "./deps.ts";
import { healthRoutes } from "./health.ts";
import { serveHttp } from "./http.ts";
import { defaultNetworkController } from "./networks/default-network.ts";
import { multusConfigController, networkKeyOf } from "./networks/multus-configs.ts";
import type { ControllerProgramOptions } from "./options.ts";
import { poolDefaultsController } from "./pools/defaults.ts";
import { poolDrainController } from "./pools/drain.ts";
import { poolStatusController } from "./pools/status.ts";
import { poolUsageController } from "./pools/usage.ts";
import { PoolUses, trimClaim } from "./pools/uses.ts";
import { subnetDrainController } from "./subnets/drain.ts";

/** Fixed: replicas of different versions must meet on it. */
const leaseName = "spiderpool-controller-leases";

/** Connects to the cluster and runs until `signal` aborts. */
export async function runProgram(options: ControllerProgramOptions, log: Logger, o: Signal): Promise<void> {
  const { configPath, kubeconfig } = options;
  const clock = systemClock;
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting is not known");
  using transport = createTransport(loadKubeConfig({ kubeconfig }), { clock });
  await runReplica(options, { transport, clock, log, settings }, o);
}

export interface ReplicaDeps extends Pick<Deps, "log" | "settings"> {
  readonly transport: Transport;
  readonly clock: Clock;
}

/** One replica: its stores are always filled and its admission always served; its controllers run while it leads. */
export async function runReplica(
  options: ControllerProgramOptions,
  { transport, clock, log, settings }: ReplicaDeps,
  { signal }: Signal,
): Promise<void> {
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-controller" });
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-controller" });
  const deps: Deps = { client, clock, log, events, settings };
  const tasks = new Tasks(log);
  const stores = watchStores(deps);
  const uses = new PoolUses(stores.pools, stores.claims, clock);
  await using _servers = await serve(options, deps, stores);
  for (const [name, store] of Object.entries(stores)) {
    tasks.spawn(`watch ${name}`, (stop) => store.run({ signal: stop }));
  }
  tasks.spawn("events", (stop) => events.run({ signal: stop }));
  const { podName, namespace } = options;
  const elector = new LeaderElector({ ...deps, namespace, name: leaseName, identity: `${podName}_${randomUUID()}` });
  try {
    await elector.run((term) => lead(controllersOf(deps, options, stores, uses, term), term), { signal });
  } finally {
    await tasks.stop();
  }
}

type Stores = ReturnType<typeof watchStores>;

function watchStores({ client, clock, log }: Deps) {
  const watch = <T extends KubeObject>(options: Omit<StoreOptions<T>, "client" | "clock" | "log">) =>
    new WatchedStore<T>({ client, clock, log, ...options });
  return {
    pools: watch({ resource: spiderIPPools }),
    subnets: watch({ resource: spiderSubnets }),
    claims: watch({ resource: spiderIPAddresses, trim: trimClaim }),
    usages: watch({ resource: spiderPoolUsages }),
    configs: watch({ resource: spiderMultusConfigs, indexes: { network: (config) => [networkKeyOf(config)] } }),
    networks: watch({ resource: networkAttachmentDefinitions }),
    coordinators: watch({ resource: spiderCoordinators }),
  };
}

async function serve(options: ControllerProgramOptions, deps: Deps, stores: Stores): Promise<AsyncDisposable> {
  const { healthPort, webhookPort, tls } = options;
  const { log } = deps;
  const { pools, subnets, networks } = stores;
  const admission = admissionRoutes({
    kinds: admissionKinds(deps, stores),
    synced: (o) => Promise.all([pools.synced(o), subnets.synced(o), networks.synced(o)]),
    log,
  });
  await using servers = new AsyncDisposableStack();
  const isSynced = () => Object.values(stores).every((store) => store.isSynced);
  const webhook = servers.use(await serveHttp({ port: webhookPort, tls, routes: admission, log }));
  const probes = { port: healthPort, tls: undefined, routes: healthRoutes({ isSynced }), log };
  const health = servers.use(await serveHttp(probes));
  log.info({ webhookPort: webhook.port, healthPort: health.port, tls: tls !== undefined }, "serving");
  return servers.move();
}

function controllersOf(
  deps: Deps,
  { namespace, clusterNetwork, coordinator, multusConfigs }: ControllerProgramOptions,
  stores: Stores,
  uses: PoolUses,
  { epoch }: Term,
): readonly ControllerOptions[] {
  const { pools, subnets, usages, networks, coordinators } = stores;
  return [
    poolDefaultsController(deps, { pools, subnets, uses }),
    poolDrainController(deps, { pools, uses }),
    subnetDrainController(deps, subnets),
    poolStatusController(deps, { pools, uses }),
    poolUsageController(deps, { uses, usages, epoch }),
    ...(multusConfigs ? [multusConfigController(deps, stores)] : []),
    ...(coordinator === undefined ? [] : [coordinatorController(deps, { coordinators, ...coordinator })]),
    ...(clusterNetwork === ""
      ? []
      : [defaultNetworkController(deps, { network: clusterNetwork, namespace, networks })]),
  ];
}

/** Runs all until the term ends. */
async function lead(controllers: readonly ControllerOptions[], { signal }: Term): Promise<void> {
  await Promise.all(controllers.map((controller) => runController(controller, { signal })));
}
