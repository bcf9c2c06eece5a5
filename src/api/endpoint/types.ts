import type { KubeObject, Resource } from "#kube";
import { ours, type RouteJson } from "../group.ts";

/** What a Pod has been given: named like the Pod, written by the agent after its answer. It has no spec. */
export interface SpiderEndpoint extends KubeObject {
  readonly status: SpiderEndpointStatus;
}

export interface SpiderEndpointStatus {
  readonly current: {
    readonly uid: string;
    readonly node: string;
    /** One for each NIC, both families merged. */
    readonly ips: readonly EndpointNic[];
  };
  /** Kind of the top controller; `Pod` for a bare Pod. */
  readonly ownerControllerType: string;
  readonly ownerControllerName: string;
}

export interface EndpointNic {
  readonly interface: string;
  /** With the prefix length of the pool's subnet. */
  readonly ipv4?: string;
  readonly ipv4Pool?: string;
  readonly ipv4Gateway?: string;
  readonly ipv6?: string;
  readonly ipv6Pool?: string;
  readonly ipv6Gateway?: string;
  readonly cleanGateway?: boolean;
  readonly vlan?: number;
  readonly mac?: string;
  readonly routes?: readonly RouteJson[];
}

export const spiderEndpoints: Resource<SpiderEndpoint> = ours("spiderendpoints", "SpiderEndpoint", true);
