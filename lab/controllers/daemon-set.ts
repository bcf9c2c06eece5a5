import { isDeepStrictEqual } from "node:util";
import type { DaemonSetStatus } from "kubernetes-types/apps/v1.d.ts";
import type { LabClient } from "../api/index.ts";
import { type DaemonSet, isActive, type Node, type Pod } from "./kinds.ts";
import { createPod, deletePod, isEnding, isReady, ownPods, templateHash } from "./own-pods.ts";

const revisionLabel = "controller-revision-hash";

/**
 * Gives each node that the template's `nodeSelector` fits one Pod, and takes away those that finished or are on another node.
 * Pods of another template are replaced one by one.
 */
export async function reconcileDaemonSet(client: LabClient, namespace: string, name: string): Promise<void> {
  const found = await client.get<DaemonSet>("apps/v1/daemonsets", { namespace, name });
  if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
  const set = { ...found, kind: "DaemonSet" } as const;
  const pods = await ownPods(client, set);
  const nodes = (await client.list<Node>("v1/nodes"))
    .filter((node) => fits(set, node))
    .map((node) => node.metadata.name);
  const revision = templateHash(set);
  await updateStatus(client, set, pods, nodes, revision); // Before the changes, which trigger this again.
  for (const node of nodes.filter((node) => !pods.some(({ spec }) => spec.nodeName === node))) {
    const labels = { [revisionLabel]: revision };
    await createPod(client, set, { metadata: { generateName: `${name}-` }, labels, spec: { nodeName: node } });
  }
  const lost = pods.filter((pod) => !isActive(pod) || !nodes.includes(pod.spec.nodeName ?? ""));
  const allReady = pods.length === nodes.length && pods.every(isReady);
  const outdated = pods.filter((pod) => pod.metadata.labels?.[revisionLabel] !== revision);
  const replaced = allReady && set.spec.updateStrategy?.type !== "OnDelete" ? outdated.slice(0, 1) : [];
  for (const pod of new Set([...lost, ...replaced])) if (!isEnding(pod)) await deletePod(client, set, pod);
}

function fits(set: DaemonSet, { metadata: { labels = {} } }: Node): boolean {
  return Object.entries(set.spec.template.spec?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
}

async function updateStatus(
  client: LabClient,
  set: DaemonSet,
  pods: readonly Pod[],
  nodes: readonly string[],
  revision: string,
): Promise<void> {
  const placed = pods.filter(({ spec }) => nodes.includes(spec.nodeName ?? ""));
  const ready = placed.filter((pod) => isReady(pod) && !isEnding(pod)).length;
  const status: DaemonSetStatus = {
    observedGeneration: set.metadata.generation ?? 1,
    desiredNumberScheduled: nodes.length,
    currentNumberScheduled: placed.length,
    updatedNumberScheduled: placed.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision).length,
    numberMisscheduled: pods.length - placed.length,
    numberReady: ready,
    numberAvailable: ready,
    numberUnavailable: nodes.length - ready,
  };
  if (isDeepStrictEqual(set.status, status)) return;
  const { namespace = "default", name } = set.metadata;
  await client.patch("apps/v1/daemonsets", { namespace, name }, { status }, { subresource: "status" });
}
