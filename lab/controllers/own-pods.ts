import type { PodTemplateSpec } from "kubernetes-types/core/v1.d.ts";
import { isStatus, type LabClient, type ObjectMeta } from "../api/index.ts";
import { hashText, recordEvent } from "./events.ts";
import { conditionOf, controllerOf, type Pod } from "./kinds.ts";

/** A workload that makes Pods of its template. */
interface Owner {
  readonly kind: "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job";
  readonly metadata: ObjectMeta;
  readonly spec: { readonly template?: PodTemplateSpec };
}

/** The Pods that this workload controls, also those that end. */
export async function ownPods(client: LabClient, { metadata }: Owner): Promise<readonly Pod[]> {
  const { namespace = "default", uid } = metadata;
  return (await client.list<Pod>("v1/pods", { namespace })).filter((pod) => controllerOf(pod) === uid);
}

/** What one Pod has besides the template. */
interface Own {
  readonly metadata: Pick<ObjectMeta, "name"> | { readonly generateName: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec?: Partial<Pod["spec"]>;
}

/** Creates a Pod of the workload's template, with an Event. */
export async function createPod(client: LabClient, owner: Owner, own: Own): Promise<void> {
  const { metadata, spec } = owner.spec.template ?? {};
  const { namespace = "default", name, uid } = owner.metadata;
  const pod = await client.create<Pod>("v1/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace,
      ...own.metadata,
      labels: { ...metadata?.labels, ...own.labels },
      annotations: metadata?.annotations ?? {},
      ownerReferences: [
        { apiVersion: groupOf(owner), kind: owner.kind, name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: { ...spec, ...own.spec },
  });
  await report(client, owner, "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
}

/** Deletes a Pod of the workload, with an Event. */
export async function deletePod(client: LabClient, owner: Owner, pod: Pod): Promise<void> {
  const { namespace = "default", name, uid } = pod.metadata;
  try {
    await client.delete("v1/pods", { namespace, name }, { uid });
  } catch (error) {
    if (!isStatus(error, 409)) throw error;
  }
  await report(client, owner, "SuccessfulDelete", `Deleted pod: ${name}`);
}

function groupOf({ kind }: Owner): string {
  return kind === "Job" ? "batch/v1" : "apps/v1";
}

function report(client: LabClient, owner: Owner, reason: string, message: string): Promise<void> {
  const { kind, metadata } = owner;
  const component = `${kind.toLowerCase()}-controller`;
  return recordEvent(
    client,
    { apiVersion: groupOf(owner), kind, metadata },
    { type: "Normal", reason, message, component },
  );
}

/** True while its containers answer. */
export function isReady(pod: Pod): boolean {
  return conditionOf(pod, "Ready") === "True";
}

/** True from its deletion on: it holds its name until it is gone. */
export function isEnding(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

/** Equal templates give equal texts, whichever way they were written. */
export function templateHash({ spec }: { readonly spec: { readonly template?: PodTemplateSpec } }): string {
  return hashText(canonicalJson(spec.template)).slice(0, 10);
}

/** JSON with sorted keys. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
