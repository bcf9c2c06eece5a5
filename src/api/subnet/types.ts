import type { KubeObject, Resource } from "#kube";
import { ours, type RouteJson } from "../group.ts";

/** A range of addresses out of which pools are made. */
export interface SpiderSubnet extends KubeObject {
  readonly spec: {
    readonly ipVersion?: 4 | 6;
    readonly subnet: string;
    readonly ips?: readonly string[];
    readonly excludeIPs?: readonly string[];
    readonly gateway?: string;
    readonly routes?: readonly RouteJson[];
  };
  readonly status?: {
    /** JSON text: pool → `{ips, application?}`. */
    readonly controlledIPPools?: string;
    readonly totalIPCount?: number;
    /** Addresses handed to pools, not to Pods. */
    readonly allocatedIPCount?: number;
  };
}

export const spiderSubnets: Resource<SpiderSubnet> = ours("spidersubnets", "SpiderSubnet");
