import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { endpointStatus } from "./schema.ts";

type SpiderEndpointStatus = DeepReadonly<Static<typeof endpointStatus>>;
/** One NIC of a Pod: an address of each family, with pool, gateway and routes. */
export type SpiderEndpointIp = SpiderEndpointStatus["current"]["ips"][number];

/** The addresses of one Pod, for people and tools. `status` is an ordinary field, not a subresource. */
export interface SpiderEndpoint extends KubeObject {
  readonly status: SpiderEndpointStatus;
}

/** The namespaced resource; an object has the name of its Pod or virtual machine. */
export const spiderEndpoints: Resource<SpiderEndpoint> = ours("spiderendpoints", "SpiderEndpoint", true);
