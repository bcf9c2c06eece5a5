import type { KubeObject, Resource } from "#kube";
import { ours, type RouteJson } from "../group.ts";

/** Cluster-wide settings of the coordinator, and the cluster's CIDRs as the controller found them. */
export interface SpiderCoordinator extends KubeObject {
  readonly spec: CoordinatorSpec;
  readonly status?: {
    readonly phase: "Synced" | "NotReady";
    readonly reason?: string;
    readonly overlayPodCIDR?: readonly string[];
    readonly serviceCIDR?: readonly string[];
  };
}

export interface CoordinatorSpec {
  readonly mode?: "auto" | "underlay" | "overlay" | "disabled";
  readonly podCIDRType?: "auto" | "cluster" | "calico" | "cilium" | "none";
  readonly hijackCIDR?: readonly string[];
  readonly policyRoutes?: readonly RouteJson[];
  readonly podMACPrefix?: string;
  readonly tunePodRoutes?: boolean;
  readonly podDefaultRouteNIC?: string;
  readonly hostRuleTable?: number;
  readonly podRPFilter?: number;
  readonly txQueueLen?: number;
  readonly vethLinkAddress?: string;
  readonly vethMTU?: number;
}

export const spiderCoordinators: Resource<SpiderCoordinator> = ours("spidercoordinators", "SpiderCoordinator");
