import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { coordinatorBlock, coordinatorSpec, coordinatorStatus } from "./schema.ts";

/** `spec`, as the schema has it, with every default. */
export type SpiderCoordinatorSpec = DeepReadonly<Static<typeof coordinatorSpec>>;
/** `status`: the CIDRs that the controller found, or why it found none. */
export type SpiderCoordinatorStatus = DeepReadonly<Static<typeof coordinatorStatus>>;
/** The same fields inside a SpiderMultusConfig: absent ones are inherited from the SpiderCoordinator. */
export type CoordinatorOverrides = DeepReadonly<Static<typeof coordinatorBlock>>;

/** How Pods on underlay networks reach their node and the cluster's Services. */
export interface SpiderCoordinator extends KubeObject {
  readonly spec: SpiderCoordinatorSpec;
  readonly status?: SpiderCoordinatorStatus;
}

/** The cluster-scoped resource. A cluster has one object, `default`. */
export const spiderCoordinators: Resource<SpiderCoordinator> = ours("spidercoordinators", "SpiderCoordinator", false);
