import {
  type AddressIndex,
  defaultCoordinator,
  defaultMultusConfig,
  defaultReservedIp,
  type NetworkAttachmentDefinition,
  networkNameOf,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderSubnet,
  type Submitted,
  spiderCoordinators,
  spiderIPPools,
  spiderMultusConfigs,
  spiderReservedIPs,
  spiderSubnets,
  validateCoordinator,
  validateMultusConfig,
  validateReservedIp,
  warnOfMultusConfig,
} from "#api";
import { keyOf, type Store } from "#kube";
import type { Deps } from "../deps.ts";
import { type AdmissionKind, kindOf } from "./kind.ts";
import { poolAdmission, subnetAdmission } from "./pools.ts";
import { Recent } from "./recent.ts";

interface AdmissionStores {
  readonly pools: Store<SpiderIPPool>;
  readonly subnets: Store<SpiderSubnet>;
  readonly poolIndex: AddressIndex<SpiderIPPool>;
  readonly subnetIndex: AddressIndex<SpiderSubnet>;
  readonly networks: Store<NetworkAttachmentDefinition>;
  /** The Lease's annotation `ledgerEpoch`, as this replica last saw it; else the mark on the Nodes. */
  readonly epoch: () => string | undefined;
}

/** Admission of every kind of ours. */
export function admissionKinds(
  deps: Pick<Deps, "client" | "clock" | "settings">,
  stores: AdmissionStores,
): readonly AdmissionKind[] {
  const pools = new Recent(stores.pools, stores.poolIndex, deps.clock);
  const subnets = new Recent(stores.subnets, stores.subnetIndex, deps.clock);
  return [
    kindOf(spiderIPPools, poolAdmission(deps, { pools, subnets: stores.subnetIndex, epoch: stores.epoch })),
    kindOf(spiderSubnets, subnetAdmission(deps, { pools, subnets })),
    kindOf(spiderReservedIPs, {
      mutate: defaultReservedIp,
      validate: (reserved, old) => validateReservedIp(reserved, { old, families: deps.settings }),
    }),
    kindOf(spiderMultusConfigs, {
      mutate: defaultMultusConfig,
      validate: (config, old) => validateMultusConfig(config, { old, network: networkOf(config, stores.networks) }),
      warn: warnOfMultusConfig,
    }),
    kindOf(spiderCoordinators, {
      mutate: defaultCoordinator,
      validate: (coordinator) => validateCoordinator(coordinator),
    }),
  ];
}

function networkOf(config: Submitted<SpiderMultusConfig>, networks: Store<NetworkAttachmentDefinition>) {
  const name = networkNameOf(config);
  return name === undefined ? undefined : networks.get(keyOf({ namespace: config.metadata.namespace, name }));
}
