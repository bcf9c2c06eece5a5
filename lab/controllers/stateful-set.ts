import { isDeepStrictEqual } from "node:util";
import type { StatefulSetStatus } from "kubernetes-types/apps/v1.d.ts";
import type { LabClient } from "../api/index.ts";
import { controllerOf, isActive, type Pod, type StatefulSet } from "./kinds.ts";
import { createPod, deletePod, isEnding, isReady, ownPods, templateHash } from "./own-pods.ts";
import { matchesLabels } from "./selector.ts";

const revisionLabel = "controller-revision-hash";

/** What a StatefulSet does next; nothing while it waits for a Pod to become ready or to end. */
type Step =
  | { readonly kind: "create"; readonly name: string; readonly ordinal: number }
  | { readonly kind: "delete"; readonly pod: Pod };

/** Brings a StatefulSet one step nearer to its spec. Runs again at every change of its Pods. */
export async function reconcileStatefulSet(client: LabClient, namespace: string, name: string): Promise<void> {
  const found = await client.get<StatefulSet>("apps/v1/statefulsets", { namespace, name });
  if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
  const set = { ...found, kind: "StatefulSet" } as const;
  await adopt(client, set);
  const pods = await ownPods(client, set);
  const revision = templateHash(set);
  await updateStatus(client, set, pods, revision); // Before the changes, which trigger this again.
  for (const step of nextSteps(set, pods, revision)) {
    if (step.kind === "delete") await deletePod(client, set, step.pod);
    else {
      await createPod(client, set, {
        metadata: { name: step.name },
        labels: {
          [revisionLabel]: revision,
          "statefulset.kubernetes.io/pod-name": step.name,
          "apps.kubernetes.io/pod-index": String(step.ordinal),
        },
        spec: { hostname: step.name, ...(set.spec.serviceName && { subdomain: set.spec.serviceName }) },
      });
    }
  }
}

/** Takes Pods without a controller that have its selector's labels and one of its names: those of a former set that left them. */
async function adopt(
  client: LabClient,
  { metadata: { name, namespace = "default", uid }, spec }: StatefulSet,
): Promise<void> {
  for (const { metadata } of await client.list<Pod>("v1/pods", { namespace })) {
    const isMember = metadata.name.startsWith(`${name}-`) && /^\d+$/.test(metadata.name.slice(name.length + 1));
    if (!isMember || controllerOf({ metadata }) !== undefined || !matchesLabels(spec.selector, metadata.labels))
      continue;
    const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name, uid, controller: true, blockOwnerDeletion: true };
    await client.patch("v1/pods", { namespace, name: metadata.name }, { metadata: { ownerReferences: [owner] } });
  }
}

/**
 * Kubernetes' order: missing Pods from the lowest ordinal up, each when those before it are ready; then surplus Pods from the
 * highest down, each when the one before is gone; then Pods of another template, the highest first. `Parallel` starts and ends
 * Pods without waiting. Pure.
 */
export function nextSteps(set: StatefulSet, pods: readonly Pod[], revision: string): readonly Step[] {
  const { metadata, spec } = set;
  const ordered = spec.podManagementPolicy !== "Parallel";
  const start = spec.ordinals?.start ?? 0;
  const names = Array.from({ length: spec.replicas ?? 1 }, (_, at) => `${metadata.name}-${start + at}`);
  const steps: Step[] = [];
  for (const [at, name] of names.entries()) {
    const pod = pods.find((one) => one.metadata.name === name);
    if (pod === undefined) steps.push({ kind: "create", name, ordinal: start + at });
    else if (!isActive(pod) && !isEnding(pod)) steps.push({ kind: "delete", pod });
    if (ordered && (pod === undefined || !isReady(pod) || isEnding(pod))) return steps;
  }
  if (steps.length > 0) return steps;
  const ordinal = ({ metadata: { name } }: Pod) => Number(name.slice(name.lastIndexOf("-") + 1));
  const fromAbove = pods.toSorted((a, b) => ordinal(b) - ordinal(a));
  const surplus = fromAbove.filter((pod) => !names.includes(pod.metadata.name));
  if (surplus.length > 0) {
    const first = ordered ? surplus.slice(0, 1) : surplus;
    return first.filter((pod) => !isEnding(pod)).map((pod) => ({ kind: "delete", pod }));
  }
  if (spec.updateStrategy?.type === "OnDelete" || !pods.every((pod) => isReady(pod) && !isEnding(pod))) return [];
  const outdated = fromAbove.find((pod) => pod.metadata.labels?.[revisionLabel] !== revision);
  return outdated === undefined ? [] : [{ kind: "delete", pod: outdated }];
}

async function updateStatus(
  client: LabClient,
  set: StatefulSet,
  pods: readonly Pod[],
  revision: string,
): Promise<void> {
  const ready = pods.filter((pod) => isReady(pod) && !isEnding(pod)).length;
  const updated = pods.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision).length;
  const { currentRevision = revision } = set.status ?? {};
  const status: StatefulSetStatus = {
    observedGeneration: set.metadata.generation ?? 1,
    replicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
    updatedReplicas: updated,
    updateRevision: revision,
    currentRevision: updated === pods.length ? revision : currentRevision,
  };
  if (isDeepStrictEqual(set.status, status)) return;
  const { namespace = "default", name } = set.metadata;
  await client.patch("apps/v1/statefulsets", { namespace, name }, { status }, { subresource: "status" });
}
