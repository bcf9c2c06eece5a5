import { finalizer, type SpiderSubnet, spiderSubnets } from "#api";
import { type ControllerOptions, fromStore, type Store } from "#kube";
import type { Deps } from "../deps.ts";

/** Kubernetes' own: the dependents of the object go first. */
const foreground = "foregroundDeletion";

/** Deletes the pools of a deleted subnet, and lets it go when no pool has a part of it any more. */
export function subnetDrainController(deps: Deps, subnets: Store<SpiderSubnet>): ControllerOptions {
  return {
    name: "subnet-drain",
    clock: deps.clock,
    log: deps.log,
    sources: [fromStore(subnets)],
    reconcile: async (name, o) => {
      const subnet = subnets.get(name);
      if (subnet?.metadata.deletionTimestamp === undefined) return {};
      if (isHeld(subnet)) {
        // Deleted in the background it would wait for pools that nobody deletes.
        if (!subnet.metadata.finalizers?.includes(foreground)) {
          const { uid } = subnet.metadata;
          await deps.client.delete(
            spiderSubnets,
            { name },
            { ...o, preconditions: { uid }, propagationPolicy: "Foreground" },
          );
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

function isHeld({ status }: SpiderSubnet): boolean {
  const { controlledIPPools = "" } = status ?? {};
  return controlledIPPools !== "" && controlledIPPools !== "{}";
}
