import { isDeepStrictEqual } from "node:util";
import type { ReplicaSetStatus } from "kubernetes-types/apps/v1.d.ts";
import type { LabClient } from "../api/index.ts";
import { isActive, type Pod, type ReplicaSet } from "./kinds.ts";
import { createPod, deletePod, isEnding, isReady, ownPods } from "./own-pods.ts";

/** Adjusts the number of a ReplicaSet's Pods to its spec, and its status to its Pods. */
export async function reconcileReplicaSet(client: LabClient, namespace: string, name: string): Promise<void> {
  const found = await client.get<ReplicaSet>("apps/v1/replicasets", { namespace, name });
  if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
  const set = { ...found, kind: "ReplicaSet" } as const;
  const pods = (await ownPods(client, set)).filter((pod) => isActive(pod) && !isEnding(pod));
  await updateStatus(client, set, pods); // Before the changes, which trigger this again.
  const wanted = set.spec.replicas ?? 1;
  for (let missing = wanted - pods.length; missing > 0; missing--)
    await createPod(client, set, { metadata: { generateName: `${name}-` } });
  for (const pod of pods.toSorted(byWorth).slice(0, Math.max(0, pods.length - wanted)))
    await deletePod(client, set, pod);
}

/** Which Pods a ReplicaSet gives up first: those without a node, then those not ready, then the youngest. */
function byWorth(a: Pod, b: Pod): number {
  const worth = (pod: Pod) => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return worth(a) - worth(b) || b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp);
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
