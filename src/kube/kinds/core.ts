import type {
  DaemonSet as DaemonSetT,
  Deployment as DeploymentT,
  ReplicaSet as ReplicaSetT,
  StatefulSet as StatefulSetT,
} from "kubernetes-types/apps/v1.js";
import type { CronJob as CronJobT, Job as JobT } from "kubernetes-types/batch/v1.js";
import type { Lease as LeaseT } from "kubernetes-types/coordination/v1.js";
import type {
  ConfigMap as ConfigMapT,
  Event as EventT,
  Namespace as NamespaceT,
  Node as NodeT,
  Pod as PodT,
  Secret as SecretT,
} from "kubernetes-types/core/v1.js";
import type { JsonObject } from "#base";
import type { KubeObject, ObjectMeta, Resource } from "./resource.ts";

/** All the way down: objects of the API are shared by everyone who reads a store. */
export type DeepReadonly<T> = T extends (infer U)[]
  ? readonly DeepReadonly<U>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** A generated type as the server stores it: its metadata is there. */
type Stored<T> = DeepReadonly<Omit<T, "metadata" | "apiVersion" | "kind">> &
  KubeObject & { readonly metadata: ObjectMeta };

/** The built-in kinds that the product reads or writes, as the server stores them. */
export type Pod = Stored<PodT>;
export type Node = Stored<NodeT>;
export type Namespace = Stored<NamespaceT>;
export type CoreEvent = Stored<EventT>;
export type ConfigMap = Stored<ConfigMapT>;
export type Secret = Stored<SecretT>;
export type Lease = Stored<LeaseT>;
export type Deployment = Stored<DeploymentT>;
export type ReplicaSet = Stored<ReplicaSetT>;
export type StatefulSet = Stored<StatefulSetT>;
export type DaemonSet = Stored<DaemonSetT>;

/** A CustomResourceDefinition, with the fields that we read. */
export interface CustomResourceDefinition extends KubeObject {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string; readonly kind: string };
    readonly scope: "Cluster" | "Namespaced";
    readonly versions: readonly (JsonObject & { readonly name: string })[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** A mutating or validating webhook configuration, with the fields that we read and write. */
export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly Webhook[];
}

interface Webhook {
  readonly name: string;
  readonly clientConfig: {
    /** The authorities that the API server trusts, PEM in base64. */
    readonly caBundle?: string;
    readonly service?: ServiceName;
  };
}

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** Their resources: core group, then coordination, apps, batch, apiextensions and admissionregistration, each in v1. */
export const pods: Resource<Pod> = core("pods", "Pod", true);
export const nodes: Resource<Node> = core("nodes", "Node", false);
export const namespaces: Resource<Namespace> = core("namespaces", "Namespace", false);
export const events: Resource<CoreEvent> = core("events", "Event", true);
export const configMaps: Resource<ConfigMap> = core("configmaps", "ConfigMap", true);
export const secrets: Resource<Secret> = core("secrets", "Secret", true);
export const leases: Resource<Lease> = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};
export const deployments: Resource<Deployment> = apps("deployments", "Deployment");
export const replicaSets: Resource<ReplicaSet> = apps("replicasets", "ReplicaSet");
export const statefulSets: Resource<StatefulSet> = apps("statefulsets", "StatefulSet");
export const daemonSets: Resource<DaemonSet> = apps("daemonsets", "DaemonSet");
export const jobs: Resource<Stored<JobT>> = {
  group: "batch",
  version: "v1",
  plural: "jobs",
  kind: "Job",
  namespaced: true,
};
export const cronJobs: Resource<Stored<CronJobT>> = {
  group: "batch",
  version: "v1",
  plural: "cronjobs",
  kind: "CronJob",
  namespaced: true,
};
export const customResourceDefinitions: Resource<CustomResourceDefinition> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};
export const mutatingWebhooks: Resource<WebhookConfiguration> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
  namespaced: false,
};
export const validatingWebhooks: Resource<WebhookConfiguration> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
  namespaced: false,
};

/** The name of a kind's CustomResourceDefinition. */
export function definitionName({ plural, group }: Pick<Resource<KubeObject>, "plural" | "group">): string {
  return `${plural}.${group}`;
}

function core<T extends KubeObject>(plural: string, kind: string, namespaced: boolean): Resource<T> {
  return { group: "", version: "v1", plural, kind, namespaced };
}

function apps<T extends KubeObject>(plural: string, kind: string): Resource<T> {
  return { group: "apps", version: "v1", plural, kind, namespaced: true };
}
