import { networkAttachmentDefinitions, spiderCoordinators, spiderIPPools, spiderReservedIPs } from "#api";
import { type Logger, type Signal, systemClock, type Tasks } from "#base";
import {
  daemonSets,
  KubeClient,
  type KubeObject,
  metadataOf,
  namespaces,
  nodes,
  pods,
  type Resource,
  type Selection,
  type Transport,
  WatchedStore,
} from "#kube";
import type { AgentOptions } from "../options.ts";
import { PoolCache } from "./pool-cache.ts";
import { Release } from "./release.ts";

const clock = systemClock;

/** The cluster as this node sees it: stores that watches fill. Acts on nothing. */
export function watchCluster(options: AgentOptions, log: Logger, tasks: Tasks, transport: Transport) {
  const { node, namespace, daemonSet } = options;
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-agent" });
  const watch = <T extends KubeObject>(resource: Resource<T>, selection: Selection = {}): WatchedStore<T> => {
    const store = new WatchedStore<T>({ client, clock, log, resource, ...selection });
    tasks.spawn(`watch ${resource.plural}`, (signal) => store.run({ signal }));
    return store;
  };
  const podStore = watch(pods, { fieldSelector: `spec.nodeName=${node}` });
  const nodeStore = watch(nodes, { fieldSelector: `metadata.name=${node}` });
  const namespaceStore = watch(metadataOf(namespaces));
  const nadStore = watch(networkAttachmentDefinitions);
  const coordinatorStore = watch(spiderCoordinators);
  const reservedStore = watch(spiderReservedIPs);
  const poolMetadata = watch(metadataOf(spiderIPPools));
  const stores = [podStore, nodeStore, namespaceStore, nadStore, reservedStore, poolMetadata, coordinatorStore];

  const pools = new PoolCache({ client, clock, log, metadata: poolMetadata });
  pools.start({ signal: tasks.signal });
  const ready = async (o: Signal) => {
    await Promise.all(stores.map((store) => store.synced(o)));
    await pools.now(o);
  };
  const relist = () => {
    pools.distrust();
    for (const store of stores) store.relist();
  };
  const release =
    daemonSet === undefined
      ? undefined
      : new Release(watch(daemonSets, { namespace, fieldSelector: `metadata.name=${daemonSet}` }), {
          namespace,
          name: daemonSet,
        });
  return {
    client,
    podStore,
    nodeStore,
    namespaceStore,
    nadStore,
    coordinatorStore,
    reservedStore,
    poolMetadata,
    pools,
    ready,
    relist,
    release,
  };
}

/** What {@link watchCluster} gives. */
export type Cluster = ReturnType<typeof watchCluster>;
