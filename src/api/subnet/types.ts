import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { subnetSpec, subnetStatus } from "./schema.ts";

/** `spec`, as the schema has it. */
export type SpiderSubnetSpec = DeepReadonly<Static<typeof subnetSpec>>;
type SpiderSubnetStatus = DeepReadonly<Static<typeof subnetStatus>>;

/** Addresses from which pools are cut, by hand or for an application. */
export interface SpiderSubnet extends KubeObject {
  readonly spec: SpiderSubnetSpec;
  readonly status?: SpiderSubnetStatus;
}

/** `status.controlledIPPools` decoded, by pool name. `application` is set for pools made for an application. */
export type ControlledIPPools = Readonly<
  Record<string, { readonly ips: readonly string[]; readonly application?: string }>
>;

/** The cluster-scoped resource. */
export const spiderSubnets: Resource<SpiderSubnet> = ours("spidersubnets", "SpiderSubnet", false);
