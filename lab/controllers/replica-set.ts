import { isDeepStrictEqual } from "node:util";
import type { ReplicaSetStatus } from "kubernetes-types/apps/v1.d.ts";
import { isStatus, type LabClient } from "../api/index.ts";
import { recordEvent } from "./events.ts";
import { conditionOf, controllerOf, isActive, type Pod, type ReplicaSet } from "./kinds.ts";

/** Adjusts the number of a ReplicaSet's Pods to its spec, and its status to its Pods. */
export async function reconcileReplicaSet(client: LabClient, namespace: string, name: string): Promise<void> {
  const set = await client.get<ReplicaSet>("apps/v1/replicasets", { namespace, name });
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
  const found = await client.list<Pod>("v1/pods", { namespace });
  const pods = found.filter(
    (pod) => controllerOf(pod) === set.metadata.uid && isActive(pod) && pod.metadata.deletionTimestamp === undefined,
  );
  await updateStatus(client, set, pods); // Before the changes, which trigger this again.
  const wanted = set.spec.replicas ?? 1;
  for (let missing = wanted - pods.length; missing > 0; missing--) await createPod(client, set);
  for (const pod of pods.toSorted(byWorth).slice(0, Math.max(0, pods.length - wanted)))
    await deletePod(client, set, pod);
}

/** Which Pods a ReplicaSet gives up first: those without a node, then those not ready, then the youngest. */
function byWorth(a: Pod, b: Pod): number {
  const worth = (pod: Pod) => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return worth(a) - worth(b) || b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp);
}

function isReady(pod: Pod): boolean {
  return conditionOf(pod, "Ready") === "True";
}

async function createPod(client: LabClient, set: ReplicaSet): Promise<void> {
  const { metadata, spec } = set.spec.template ?? {};
  const { namespace = "default", name, uid } = set.metadata;
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name, uid, controller: true, blockOwnerDeletion: true };
  const pod = await client.create<Pod>("v1/pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace,
      generateName: `${name}-`,
      labels: metadata?.labels ?? {},
      annotations: metadata?.annotations ?? {},
      ownerReferences: [owner],
    },
    spec,
  });
  await report(client, set, "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
}

async function deletePod(client: LabClient, set: ReplicaSet, pod: Pod): Promise<void> {
  const { namespace = "default", name, uid } = pod.metadata;
  try {
    await client.delete("v1/pods", { namespace, name }, { uid });
  } catch (error) {
    if (!isStatus(error, 409)) throw error;
  }
  await report(client, set, "SuccessfulDelete", `Deleted pod: ${name}`);
}

function report(client: LabClient, set: ReplicaSet, reason: string, message: string): Promise<void> {
  const subject = { apiVersion: "apps/v1", kind: "ReplicaSet", metadata: set.metadata };
  return recordEvent(client, subject, { type: "Normal", reason, message, component: "replicaset-controller" });
}

async function updateStatus(client: LabClient, set: ReplicaSet, pods: readonly Pod[]): Promise<void> {
  const ready = pods.filter(isReady).length;
  const status: ReplicaSetStatus = {
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
    observedGeneration: set.metadata.generation ?? 1,
  };
  if (isDeepStrictEqual(set.status, status)) return;
  const { namespace = "default", name } = set.metadata;
  await client.patch("apps/v1/replicasets", { namespace, name }, { status }, { subresource: "status" });
}
