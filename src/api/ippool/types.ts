import type { KubeObject, Resource } from "#kube";
import { type LabelSelectorJson, ours, type RouteJson } from "../group.ts";

/** A set of addresses of one subnet, and who may draw from it. */
export interface SpiderIPPool extends KubeObject {
  readonly spec: SpiderIPPoolSpec;
  readonly status?: SpiderIPPoolStatus;
}

export interface SpiderIPPoolSpec {
  /** Filled in from `subnet` when absent; immutable. */
  readonly ipVersion?: 4 | 6;
  /** Canonical CIDR; immutable. */
  readonly subnet: string;
  /** `A` or `A-B`. */
  readonly ips?: readonly string[];
  readonly excludeIPs?: readonly string[];
  readonly gateway?: string;
  readonly routes?: readonly RouteJson[];
  readonly podAffinity?: LabelSelectorJson;
  readonly namespaceAffinity?: LabelSelectorJson;
  readonly namespaceName?: readonly string[];
  readonly nodeAffinity?: LabelSelectorJson;
  readonly nodeName?: readonly string[];
  /** `namespace/name` of net-attach-defs, or `name` in the install namespace. */
  readonly multusName?: readonly string[];
  readonly default?: boolean;
  readonly disable?: boolean;
}

/** A view: made of claims by the controller, read by people. */
export interface SpiderIPPoolStatus {
  /** JSON text: address → `{pod, podUid}`; absent when nothing is allocated. */
  readonly allocatedIPs?: string;
  readonly totalIPCount?: number;
  readonly allocatedIPCount?: number;
}

export const spiderIPPools: Resource<SpiderIPPool> = ours("spiderippools", "SpiderIPPool");
