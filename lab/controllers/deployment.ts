import { isDeepStrictEqual } from "node:util";
import type { DeploymentStatus } from "kubernetes-types/apps/v1.d.ts";
import type { LabClient } from "../api/index.ts";
import { apiTime, recordEvent } from "./events.ts";
import { controllerOf, type Deployment, type ReplicaSet } from "./kinds.ts";
import { templateHash } from "./own-pods.ts";
import { boundsOf, type Generation, nextStep } from "./rollout.ts";

const hashLabel = "pod-template-hash";

/** Brings a Deployment one step nearer to its spec. Runs again at every change of its ReplicaSets. */
export async function reconcileDeployment(client: LabClient, namespace: string, name: string): Promise<void> {
  const deployment = await client.get<Deployment>("apps/v1/deployments", { namespace, name });
  if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return;
  const found = await client.list<ReplicaSet>("apps/v1/replicasets", { namespace });
  const owned = found.filter((set) => controllerOf(set) === deployment.metadata.uid);
  const hash = templateHash(deployment);
  const known = owned.find((set) => set.metadata.labels?.[hashLabel] === hash);
  const old = owned
    .filter((set) => set !== known)
    .sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp));
  const current = known ?? (await createReplicaSet(client, deployment, hash));
  await scale(client, deployment, current, old);
  await updateStatus(client, deployment, current, [current, ...old]);
}

async function createReplicaSet(client: LabClient, deployment: Deployment, hash: string): Promise<ReplicaSet> {
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

async function scale(
  client: LabClient,
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
): Promise<void> {
  const targets = nextStep(generationOf(current), old.map(generationOf), boundsOf(deployment));
  for (const set of [current, ...old]) {
    const before = set.spec.replicas ?? 0;
    const after = targets.get(set.metadata.name) ?? before;
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
  const enough = available >= wanted - maxUnavailable ? "True" : "False";
  const known = deployment.status?.conditions?.find(({ type }) => type === "Available");
  const status: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation ?? 1,
    replicas: sum("replicas"),
    updatedReplicas: current.status?.replicas ?? 0,
    readyReplicas: sum("readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, wanted - available),
    conditions: [
      known?.status === enough ? known : { type: "Available", status: enough, lastTransitionTime: apiTime() },
    ],
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
