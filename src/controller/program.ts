import { randomUUID } from "node:crypto";
import {
  networkAttachmentDefinitions,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderPoolUsages,
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
import type { Deps } from "./deps.ts";
import { defaultNetworkController } from "./networks/default-network.ts";
import { multusConfigController, networkKeyOf } from "./networks/multus-configs.ts";
import type { ControllerProgramOptions } from "./options.ts";
import { poolStatusController } from "./pools/status.ts";
import { poolUsageController } from "./pools/usage.ts";
import { PoolUses, trimClaim } from "./pools/uses.ts";

/** Fixed: replicas of different versions must meet on it. */
const leaseName = "spiderpool-controller-leases";

/** Connects to the cluster and runs until `signal` aborts. */
export async function runProgram(options: ControllerProgramOptions, log: Logger, o: Signal): Promise<void> {
  const clock = systemClock;
  using transport = createTransport(loadKubeConfig({ kubeconfig: options.kubeconfig }), { clock });
  await runReplica(options, { transport, clock, log }, o);
}

/** One replica: its stores are always filled; its controllers run while it leads. */
export async function runReplica(
  options: ControllerProgramOptions,
  { transport, clock, log }: { readonly transport: Transport; readonly clock: Clock; readonly log: Logger },
  { signal }: Signal,
): Promise<void> {
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-controller" });
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-controller" });
  const deps: Deps = { client, clock, log, events };
  const tasks = new Tasks(log);
  const stores = watchStores(deps);
  const uses = new PoolUses(stores.pools, stores.claims, clock);
  for (const [name, store] of Object.entries(stores))
    tasks.spawn(`watch ${name}`, (stop) => store.run({ signal: stop }));
  tasks.spawn("events", (stop) => events.run({ signal: stop }));
  const elector = new LeaderElector({
    ...deps,
    namespace: options.namespace,
    name: leaseName,
    identity: `${options.podName}_${randomUUID()}`,
  });
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
    claims: watch({ resource: spiderIPAddresses, trim: trimClaim }),
    usages: watch({ resource: spiderPoolUsages }),
    configs: watch({
      resource: spiderMultusConfigs,
      indexes: { network: (config) => [networkKeyOf(config)] },
    }),
    networks: watch({ resource: networkAttachmentDefinitions }),
  };
}

function controllersOf(
  deps: Deps,
  { namespace, clusterNetwork }: ControllerProgramOptions,
  stores: Stores,
  uses: PoolUses,
  { epoch }: Term,
): readonly ControllerOptions[] {
  return [
    poolStatusController(deps, { pools: stores.pools, uses }),
    poolUsageController(deps, { uses, usages: stores.usages, epoch }),
    multusConfigController(deps, stores),
    ...(clusterNetwork === ""
      ? []
      : [defaultNetworkController(deps, { network: clusterNetwork, namespace, networks: stores.networks })]),
  ];
}

/** Runs all until the term ends. */
async function lead(controllers: readonly ControllerOptions[], { signal }: Term): Promise<void> {
  await Promise.all(controllers.map((controller) => runController(controller, { signal })));
}
