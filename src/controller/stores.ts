import {
  labels,
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderPoolUsages,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { type KubeObject, type Namespace, namespaces, type StoreOptions, WatchedStore } from "#kube";
import { claimIndexes } from "./collector/stores.ts";
import type { Deps } from "./deps.ts";
import { injectionsOf } from "./injection/inject.ts";
import { networkKeyOf } from "./networks/multus-configs.ts";
import { trimClaim } from "./pools/kept-claim.ts";

/** The stores that every replica keeps, leading or not. */
export function watchStores({ client, clock, log }: Pick<Deps, "client" | "clock" | "log">) {
  const watch = <T extends KubeObject>(options: Omit<StoreOptions<T>, "client" | "clock" | "log">) =>
    new WatchedStore<T>({ client, clock, log, ...options });
  return {
    pools: watch({
      resource: spiderIPPools,
      indexes: { application: ({ metadata }) => [metadata.labels?.[labels.ownerApplicationUid] ?? []].flat() },
    }),
    subnets: watch({ resource: spiderSubnets }),
    reserved: watch({ resource: spiderReservedIPs }),
    claims: watch({ resource: spiderIPAddresses, trim: trimClaim, indexes: claimIndexes }),
    usages: watch({ resource: spiderPoolUsages }),
    configs: watch({
      resource: spiderMultusConfigs,
      indexes: { network: (config) => [networkKeyOf(config)], injection: injectionsOf },
    }),
    networks: watch({ resource: networkAttachmentDefinitions }),
    coordinators: watch({ resource: spiderCoordinators }),
  };
}

/** Namespaces with their annotations, for the webhook of Pods. */
export function watchNamespaces({
  client,
  clock,
  log,
}: Pick<Deps, "client" | "clock" | "log">): WatchedStore<Namespace> {
  return new WatchedStore({ client, clock, log, resource: namespaces });
}

/** A replica's stores, by their name in {@link watchStores}. */
export type Stores = ReturnType<typeof watchStores>;
