import { isDeepStrictEqual } from "node:util";
import type { DeploymentCondition, DeploymentStatus } from "kubernetes-types/apps/v1.d.ts";
import { systemClock } from "#base";
import type { LabClient } from "../api/index.ts";
import { hashText, recordEvent } from "./events.ts";
import { controllerOf, type Deployment, type ReplicaSet } from "./kinds.ts";
import { boundsOf, type Generation, nextStep } from "./rollout.ts";
import { selectorText } from "./selector.ts";

const hashLabel = "pod-template-hash";
const revisionAnnotation = "deployment.kubernetes.io/revision";

/** Takes a Deployment one step nearer to its spec; every change of its ReplicaSets brings it back here. */
export async function reconcileDeployment(client: LabClient, namespace: string, name: string): Promise<void> {
  const deployment = await client.get<Deployment>("apps/v1/deployments", { namespace, name });
  if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
  const labelSelector = selectorText(deployment.spec.selector);
  const found = await client.list<ReplicaSet>("apps/v1/replicasets", { namespace, labelSelector });
  const owned = found.items.filter((set) => controllerOf(set) === deployment.metadata.uid);
  const hash = hashText(canonicalJson(deployment.spec.template)).slice(0, 10);
  const known = owned.find((set) => set.metadata.labels?.[hashLabel] === hash);
  const old = owned.filter((set) => set !== known).sort((a, b) => revisionOf(a) - revisionOf(b));
  const revision = 1 + Math.max(0, ...old.map(revisionOf));
  const current = known ?? (await createReplicaSet(client, deployment, hash, revision));
  await noteRevision(client, deployment, current, Math.max(revision, revisionOf(current)));
  if (deployment.spec.paused !== true) await scale(client, deployment, current, old);
  await updateStatus(client, deployment, current, [current, ...old]);
  await forgetOld(client, deployment, old);
}

function revisionOf({ metadata }: { readonly metadata: ReplicaSet["metadata"] }): number {
  return Number(metadata.annotations?.[revisionAnnotation] ?? 0);
}

async function createReplicaSet(
  client: LabClient,
  deployment: Deployment,
  hash: string,
  revision: number,
): Promise<ReplicaSet> {
  const { name, namespace, uid } = deployment.metadata;
  const { template, selector } = deployment.spec;
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  return await client.create<ReplicaSet>("apps/v1/replicasets", {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels,
      annotations: { [revisionAnnotation]: String(revision) },
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "Deployment", name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      replicas: 0,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  });
}

/** `kubectl rollout history` and `undo` find revisions by this annotation; a ReplicaSet that comes back gets a new number. */
async function noteRevision(
  client: LabClient,
  deployment: Deployment,
  current: ReplicaSet,
  revision: number,
): Promise<void> {
  const patch = { metadata: { annotations: { [revisionAnnotation]: String(revision) } } };
  const { namespace = "default" } = deployment.metadata;
  if (revisionOf(current) !== revision)
    await client.patch("apps/v1/replicasets", { namespace, name: current.metadata.name }, patch);
  if (revisionOf(deployment) !== revision)
    await client.patch("apps/v1/deployments", { namespace, name: deployment.metadata.name }, patch);
}

async function scale(
  client: LabClient,
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
): Promise<void> {
  const bounds = boundsOf(deployment);
  const recreating =
    deployment.spec.strategy?.type === "Recreate" && old.some((set) => (set.status?.replicas ?? 0) > 0);
  const targets = nextStep(generationOf(current), old.map(generationOf), bounds);
  for (const set of [current, ...old]) {
    const before = set.spec.replicas ?? 0;
    const after = recreating && set === current ? before : (targets.get(set.metadata.name) ?? before);
    if (after === before) continue;
    const { namespace = "default", name } = set.metadata;
    await client.patch("apps/v1/replicasets", { namespace, name }, { spec: { replicas: after } });
    await recordEvent(
      client,
      { apiVersion: "apps/v1", kind: "Deployment", metadata: deployment.metadata },
      {
        type: "Normal",
        reason: "ScalingReplicaSet",
        message: `Scaled ${after > before ? "up" : "down"} replica set ${name} from ${before} to ${after}`,
        component: "deployment-controller",
      },
    );
  }
}

function generationOf({ metadata, spec, status }: ReplicaSet): Generation {
  return { name: metadata.name, replicas: spec.replicas ?? 0, available: status?.availableReplicas ?? 0 };
}

async function updateStatus(
  client: LabClient,
  deployment: Deployment,
  current: ReplicaSet,
  all: readonly ReplicaSet[],
): Promise<void> {
  const sum = (field: "replicas" | "readyReplicas" | "availableReplicas") =>
    all.reduce((total, { status }) => total + (status?.[field] ?? 0), 0);
  const { wanted, maxUnavailable } = boundsOf(deployment);
  const available = sum("availableReplicas");
  const updated = current.status?.replicas ?? 0;
  const complete = updated === wanted && sum("replicas") === wanted && available === wanted;
  const name = current.metadata.name;
  const conditions: readonly Said[] = [
    available >= wanted - maxUnavailable
      ? ["Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."]
      : ["Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."],
    complete
      ? ["Progressing", "True", "NewReplicaSetAvailable", `ReplicaSet "${name}" has successfully progressed.`]
      : ["Progressing", "True", "ReplicaSetUpdated", `ReplicaSet "${name}" is progressing.`],
  ];
  const status: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation ?? 1,
    replicas: sum("replicas"),
    updatedReplicas: updated,
    readyReplicas: sum("readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, wanted - available),
    conditions: conditions.map((said) => condition(said, deployment.status?.conditions ?? [])),
  };
  if (isDeepStrictEqual(deployment.status, status)) return;
  const { namespace = "default" } = deployment.metadata;
  await client.patch(
    "apps/v1/deployments",
    { namespace, name: deployment.metadata.name },
    { status },
    { subresource: "status" },
  );
}

type Said = readonly [type: string, status: string, reason: string, message: string];

/** Keeps the times of a condition that says the same as before. */
function condition([type, status, reason, message]: Said, before: readonly DeploymentCondition[]): DeploymentCondition {
  const known = before.find((one) => one.type === type);
  if (known?.status === status && known.reason === reason && known.message === message) return known;
  const now = systemClock
    .wall()
    .toISOString()
    .replace(/\.\d+Z$/, "Z");
  const since = known?.status === status ? (known.lastTransitionTime ?? now) : now;
  return { type, status, reason, message, lastUpdateTime: now, lastTransitionTime: since };
}

async function forgetOld(client: LabClient, deployment: Deployment, old: readonly ReplicaSet[]): Promise<void> {
  const empty = old.filter((set) => set.spec.replicas === 0 && (set.status?.replicas ?? 0) === 0);
  const keep = deployment.spec.revisionHistoryLimit ?? 10;
  for (const { metadata } of empty.slice(0, Math.max(0, empty.length - keep)))
    await client.delete("apps/v1/replicasets", { name: metadata.name, namespace: metadata.namespace ?? "default" });
}

/** JSON with sorted keys: the same template gives the same text whichever way it was written. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
