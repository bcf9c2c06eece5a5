import { isPodAlive, type Pod } from "#kube";
import { kindOf, type StoredWorkload } from "./state.ts";
import type { World } from "./world.ts";

/** The workload with the counts of its own controller, because a DaemonSet's Pods depend on the nodes. */
export function counted(world: World, workload: StoredWorkload): StoredWorkload {
  if (workload.kind !== "DaemonSet") return workload;
  return { ...workload, status: { ...workload.status, desiredNumberScheduled: nodesFor(world, workload).length } };
}

/** The workload's Pods that are alive, sorted by name, with ordinals as numbers. */
export function podsOf(world: World, { kind, metadata }: Pick<StoredWorkload, "kind" | "metadata">): readonly Pod[] {
  const owned = [...world.pods.values()].filter((pod) => {
    const owner = world.ownerOf(pod);
    return owner?.kind === kind && owner.uid === metadata.uid && isPodAlive(pod);
  });
  return owned.toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name, "en", { numeric: true }));
}

/** How many Pods it wants. A DaemonSet wants one for each node that fits. */
export function wantedOf(world: World, workload: StoredWorkload): number {
  if (workload.kind === "DaemonSet") return nodesFor(world, workload).length;
  return kindOf(workload)?.replicas(workload) ?? 0;
}

function nodesFor(world: World, workload: StoredWorkload): readonly string[] {
  const { nodeSelector = {} } = newPod(world, workload, "").spec ?? {};
  return [...world.nodes.values()]
    .filter(({ metadata }) => Object.entries(nodeSelector).every(([key, value]) => metadata.labels?.[key] === value))
    .map(({ metadata }) => metadata.name);
}

/** The surplus Pods: those of a StatefulSet with the highest ordinals, otherwise the youngest. */
export function surplus(world: World, workload: StoredWorkload, pods: readonly Pod[]): readonly Pod[] {
  const wanted = wantedOf(world, workload);
  if (workload.kind === "StatefulSet") return pods.filter((pod) => !ordinals(workload).includes(pod.metadata.name));
  if (workload.kind === "DaemonSet") {
    const nodes = nodesFor(world, workload);
    return pods.filter(({ spec }) => !nodes.includes(spec?.nodeName ?? ""));
  }
  const age = ({ metadata, status }: Pod) =>
    `${status?.phase === "Pending" ? 1 : 0} ${metadata.creationTimestamp ?? ""}`;
  const youngest = pods.toReversed().toSorted((a, b) => (age(a) < age(b) ? 1 : age(a) > age(b) ? -1 : 0));
  return youngest.slice(0, Math.max(0, pods.length - wanted));
}

function ordinals({ metadata, spec }: StoredWorkload): readonly string[] {
  const { start = 0 } = (spec as { readonly ordinals?: { readonly start?: number } })?.ordinals ?? {};
  return Array.from({ length: spec?.replicas ?? 1 }, (_, index) => `${metadata.name}-${start + index}`);
}

/** A new Pod of the workload's template. */
export function newPod(world: World, workload: StoredWorkload, name: string, nodeName?: string): Pod {
  const template = (kindOf(workload)?.template(workload) ?? {}) as {
    readonly metadata?: object;
    readonly spec?: object;
  };
  const { apiVersion, kind, metadata } = workload;
  const owner = { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true };
  const { namespace = "" } = metadata;
  return {
    metadata: {
      ...template.metadata,
      namespace,
      name,
      uid: world.newUid(),
      resourceVersion: "",
      ownerReferences: [owner],
    },
    spec: { ...template.spec, ...(nodeName !== undefined && { nodeName }) },
    status: { phase: "Pending" },
  } as unknown as Pod;
}

/** The Pods that are missing. */
export function missing(world: World, workload: StoredWorkload, pods: readonly Pod[]): readonly Pod[] {
  const there = new Set(pods.map(({ metadata }) => metadata.name));
  switch (workload.kind) {
    case "StatefulSet":
      return ordinals(workload).flatMap((name) => (there.has(name) ? [] : [newPod(world, workload, name)]));
    case "DaemonSet": {
      const nodes = nodesFor(world, workload).filter((node) => !pods.some(({ spec }) => spec?.nodeName === node));
      return nodes.map((node) => newPod(world, workload, `${workload.metadata.name}-${node}`, node));
    }
    default: {
      const count = Math.max(0, wantedOf(world, workload) - pods.length);
      return Array.from({ length: count }, (_, at) =>
        newPod(world, workload, `${workload.metadata.name}-new-${at + 1}`),
      );
    }
  }
}
