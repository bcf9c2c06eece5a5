import type {
  DaemonSetSpec,
  DaemonSetStatus,
  DeploymentSpec,
  DeploymentStatus,
  ReplicaSetSpec,
  ReplicaSetStatus,
  StatefulSetSpec,
  StatefulSetStatus,
} from "kubernetes-types/apps/v1.d.ts";
import type { JobSpec, JobStatus } from "kubernetes-types/batch/v1.d.ts";
import type { LeaseSpec } from "kubernetes-types/coordination/v1.d.ts";
import type { NodeSpec, NodeStatus, PodSpec, PodStatus } from "kubernetes-types/core/v1.d.ts";
import type { ObjectMeta } from "../api/index.ts";

/** The kinds that the lab's parts work on, as the server stores them, with complete metadata. */

/** A Pod; its status is absent until the kubelet writes it. */
export interface Pod {
  readonly metadata: ObjectMeta;
  readonly spec: PodSpec;
  readonly status?: PodStatus;
}

/** A Node; the lab creates it without a status. */
export interface Node {
  readonly metadata: ObjectMeta;
  readonly spec?: NodeSpec;
  readonly status?: NodeStatus;
}

/** A ReplicaSet: so many Pods of one template. */
export interface ReplicaSet {
  readonly metadata: ObjectMeta;
  readonly spec: ReplicaSetSpec;
  readonly status?: ReplicaSetStatus;
}

/** A Deployment: it makes a ReplicaSet for each version of its template. */
export interface Deployment {
  readonly metadata: ObjectMeta;
  readonly spec: DeploymentSpec;
  readonly status?: DeploymentStatus;
}

/** A StatefulSet: Pods with ordinals, of which each keeps its name. */
export interface StatefulSet {
  readonly metadata: ObjectMeta;
  /** kubernetes-types knows no `ordinals` yet. */
  readonly spec: StatefulSetSpec & { readonly ordinals?: { readonly start?: number } };
  readonly status?: StatefulSetStatus;
}

/** A DaemonSet: one Pod on each node. */
export interface DaemonSet {
  readonly metadata: ObjectMeta;
  readonly spec: DaemonSetSpec;
  readonly status?: DaemonSetStatus;
}

/** A Job: Pods that run until they have succeeded. */
export interface Job {
  readonly metadata: ObjectMeta;
  readonly spec: JobSpec;
  readonly status?: JobStatus;
}

/** A Lease: a node's heartbeat, or the election of a leader. */
export interface Lease {
  readonly metadata: ObjectMeta;
  readonly spec: LeaseSpec;
}

/** The status of a condition ("True", "False", "Unknown"); undefined if the object has none of this type. */
export function conditionOf(
  object: { readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] } },
  type: string,
): string | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type)?.status;
}

/** True until the Pod has finished for good. */
export function isActive(pod: Pod): boolean {
  return pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed";
}

/** The UID of the object that controls this one. */
export function controllerOf(object: { readonly metadata: ObjectMeta }): string | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid;
}

/** `namespace/name`, the key that work queues use. */
export function keyOf({ metadata }: { readonly metadata: ObjectMeta }): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
