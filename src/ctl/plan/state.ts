import type { NetworkAttachmentDefinition, SpiderIPPool, SpiderReservedIP, SpiderSubnet } from "#api";
import { type WorkloadKind, type WorkloadObject, workloadKindOf } from "#ipam";
import { type KubeObject, type Node, type Pod, parseApiVersion } from "#kube";
import type { Claim } from "#ledger";
import type { Installation } from "../explain/facts.ts";
import type { Manifest } from "../manifests.ts";

/** A workload with the name of its kind: objects of a list do not carry it. */
export interface StoredWorkload extends WorkloadObject {
  /** `apps/v1`. */
  readonly apiVersion: string;
  readonly kind: string;
}

/** How a workload of this kind makes Pods; undefined if subnets do not know the kind. */
export function kindOf({ apiVersion, kind }: Pick<StoredWorkload, "apiVersion" | "kind">): WorkloadKind | undefined {
  const { group, version } = parseApiVersion(apiVersion);
  return workloadKindOf({ apiGroup: group, apiVersion: version, kind });
}

/** All of a cluster that addresses depend on, as it was read. */
export interface State {
  readonly pools: readonly SpiderIPPool[];
  readonly subnets: readonly SpiderSubnet[];
  readonly reservations: readonly SpiderReservedIP[];
  readonly claims: readonly Claim[];
  readonly pods: readonly Pod[];
  /** Of every kind that makes Pods, their parts (ReplicaSets, Jobs) among them. */
  readonly workloads: readonly StoredWorkload[];
  readonly namespaces: readonly KubeObject[];
  readonly nodes: readonly Node[];
  readonly nads: readonly NetworkAttachmentDefinition[];
  readonly installation: Installation;
}

/** What is about to be done to the cluster. */
export interface Change {
  /** Objects as `kubectl apply` would send them, in order. */
  readonly applied: readonly Manifest[];
  /** Objects that would be deleted; only their names count. */
  readonly deleted: readonly Manifest[];
}

/** Addresses of a pool. */
export interface PoolCounts {
  /** In `ips` less `excludeIPs`. */
  readonly total: bigint;
  /** Of those: claimed, whatever for. */
  readonly used: bigint;
  /** What new Pods can have: reserved addresses are taken off. */
  readonly free: bigint;
}

/** A pool that the change touches, or whose numbers change by it. */
export interface PoolChange {
  readonly pool: string;
  /** `deleting`: it stays until its last address is given back. */
  readonly change: "made" | "changed" | "deleted" | "deleting" | "used";
  readonly before?: PoolCounts;
  readonly after?: PoolCounts;
  /** It has free addresses now and would have none; of a pool made for an application, that is as it should be. */
  readonly dry: boolean;
}

/** An address that its holder would not have any more. */
export interface Loss {
  readonly address: string;
  readonly pool: string;
  /** `default/web-0`. */
  readonly pod: string;
  /** The holder ends by the change, or its next Pod was to have the same address. */
  readonly why: string;
  readonly when: "now" | "at its restart";
}

/** A Pod that could not have its addresses. */
export interface Stuck {
  readonly pod: string;
  /** Its addresses outlive it. */
  readonly sticky: boolean;
  readonly when: "now" | "at its restart";
  readonly code: string;
  readonly why: string;
}

/** What a change would come to. */
export interface Plan {
  /** What admission would say; such an object stays as it is. */
  readonly refused: readonly { readonly object: string; readonly why: string }[];
  readonly pools: readonly PoolChange[];
  readonly losses: readonly Loss[];
  readonly stuck: readonly Stuck[];
  /** Applications whose subnets cannot give what they ask for. */
  readonly unmet: readonly string[];
  /** What could not be taken into account. */
  readonly notes: readonly string[];
}
