import type { AddressIndex, SpiderIPPool, SpiderSubnet } from "#api";
import type { Family, IpSet } from "#ip";
import type { LeaderElector, Namespace, WatchedStore } from "#kube";
import type { CertificateStores } from "./certificates/replica.ts";
import type { Collector } from "./collector/collector.ts";
import type { LossMark } from "./ledger-epoch/mark.ts";
import type { Rewind } from "./ledger-epoch/rewind.ts";
import type { PoolUses } from "./pools/uses.ts";
import type { Stores } from "./stores.ts";

/** What one replica of the controller knows, and whether it leads. */
export interface Replica {
  readonly stores: Stores;
  readonly uses: PoolUses;
  /** The pools and subnets of the stores, by their addresses. */
  readonly poolIndex: AddressIndex<SpiderIPPool>;
  readonly subnetIndex: AddressIndex<SpiderSubnet>;
  readonly reserved: (family: Family) => IpSet;
  readonly elector: LeaderElector;
  readonly rewind: Rewind;
  readonly mark: LossMark;
  /** Set if the leader keeps the webhooks' certificate, rather than cert-manager or Helm. */
  readonly certificates: CertificateStores | undefined;
  /** Set if the webhook of Pods is on. */
  readonly namespaces: WatchedStore<Namespace> | undefined;
  /** Set while this replica leads. */
  collector: Collector | undefined;
}

/** Everything that a replica watches whether it leads or not, by name. */
export function storesOf({ stores, certificates, namespaces }: Replica) {
  return Object.entries({ ...stores, ...certificates, ...(namespaces !== undefined && { namespaces }) });
}
