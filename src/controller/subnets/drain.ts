import { finalizer, type SpiderIPPool, type SpiderSubnet, spiderIPPools, spiderSubnets } from "#api";
import { type ControllerOptions, fromStore, type Store } from "#kube";
import type { Deps } from "../deps.ts";

/** Deletes the pools of a deleted subnet, and removes the subnet's finalizer when no pool has a part of it any more. */
export function subnetDrainController(
  deps: Deps,
  { subnets, pools }: { readonly subnets: Store<SpiderSubnet>; readonly pools: Store<SpiderIPPool> },
): ControllerOptions {
  return {
    name: "subnet-drain",
    clock: deps.clock,
    log: deps.log,
    sources: [fromStore(subnets)],
    reconcile: async (name, o) => {
      const subnet = subnets.get(name);
      if (subnet?.metadata.deletionTimestamp === undefined) return {};
      if (isHeld(subnet)) {
        // The garbage collector deletes these pools only after the subnet is gone, which waits for them.
        for (const { metadata } of pools.list().filter((pool) => isOwned(pool, subnet))) {
          const preconditions = { uid: metadata.uid };
          await deps.client.delete(spiderIPPools, { name: metadata.name }, { ...o, preconditions });
          deps.log.info({ subnet: name, pool: metadata.name }, "pool of a deleted subnet deleted");
        }
        return {};
      }
      const finalizers = subnet.metadata.finalizers?.filter((one) => one !== finalizer) ?? [];
      if (finalizers.length === (subnet.metadata.finalizers?.length ?? 0)) return {};
      await deps.client.update(spiderSubnets, { ...subnet, metadata: { ...subnet.metadata, finalizers } }, o);
      deps.log.info({ subnet: name }, "deleted subnet let go: no pool has a part of it");
      return {};
    },
  };
}

function isOwned({ metadata }: SpiderIPPool, subnet: SpiderSubnet): boolean {
  const { ownerReferences = [], deletionTimestamp } = metadata;
  return deletionTimestamp === undefined && ownerReferences.some(({ uid }) => uid === subnet.metadata.uid);
}

function isHeld({ status }: SpiderSubnet): boolean {
  const { controlledIPPools = "" } = status ?? {};
  return controlledIPPools !== "" && controlledIPPools !== "{}";
}
