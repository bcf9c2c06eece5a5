import { isDeepStrictEqual } from "node:util";
import type { WorkloadKind } from "#ipam";
import { isPodAlive, keyOf, type Pod } from "#kube";
import { asPod } from "./admit.ts";
import { type Start, startOf, startPod } from "./start.ts";
import { kindOf, type StoredWorkload } from "./state.ts";
import type { World } from "./world.ts";

/** A Pod that the change creates and that would not get its addresses. */
export interface Unstarted {
  readonly pod: Pod;
  readonly failure: Extract<Start, { readonly kind: "fails" }>;
}

/** A workload before the change and after it; undefined if there is none. */
export interface WorkloadChange {
  readonly key: string;
  readonly before: StoredWorkload | undefined;
  readonly after: StoredWorkload | undefined;
}

/** The fields that decide how Pods are replaced. */
interface Strategy {
  readonly type?: string;
  readonly rollingUpdate?: {
    readonly maxSurge?: number | string;
    readonly maxUnavailable?: number | string;
    readonly partition?: number;
  };
}

type SpecOf = StoredWorkload["spec"] & { readonly strategy?: Strategy; readonly updateStrategy?: Strategy };

/** Removes the Pods that the workload no longer wants, before any other Pod is created. */
export function endPods(world: World, { key, before, after }: WorkloadChange): void {
  if (before === undefined) return;
  const pods = podsOf(world, before);
  const name = key.replace("/", " "); // As all reasons name it: `Deployment default/web`.
  if (after === undefined) {
    for (const pod of pods) world.end(pod, `${name} is deleted`);
    return;
  }
  for (const pod of surplus(world, after, pods)) world.end(pod, `${name} is made smaller`);
}

/** Creates missing Pods and replaces those of a changed template, as the workload's controller would. */
export function startPods(world: World, { before, after }: WorkloadChange): readonly Unstarted[] {
  if (after === undefined) return [];
  if (after.kind === "Pod") return startAll(world, [asPod(after)]);
  const kind = kindOf(after);
  if (kind === undefined || after.kind === "CronJob") return [];
  const old = before === undefined ? [] : podsOf(world, before);
  const isNew = before !== undefined && !sameTemplate(kind, before, after);
  const nics = nicsOf(world, old);
  if (isOrdered(after) && old.some((pod) => isWaiting(world, pod))) return [];
  switch (after.kind) {
    case "Deployment":
      return isNew ? replaceDeployment(world, after, old, nics) : addPods(world, after, old, nics);
    case "StatefulSet":
      return isNew ? replaceInOrder(world, after, old, nics) : addPods(world, after, old, nics);
    case "DaemonSet":
      return isNew ? replaceInOrder(world, after, old, nics) : addPods(world, after, old, nics);
    default:
      // Pods of a ReplicaSet or a Job stay as they were made.
      return addPods(world, after, old, nics);
  }
}

/** The workload with the counts of its own controller, because a DaemonSet's Pods depend on the nodes. */
export function counted(world: World, workload: StoredWorkload): StoredWorkload {
  if (workload.kind !== "DaemonSet") return workload;
  return { ...workload, status: { ...workload.status, desiredNumberScheduled: nodesFor(world, workload).length } };
}

/** The workload's Pods that are alive, sorted by name, with ordinals as numbers. */
function podsOf(world: World, { kind, metadata }: Pick<StoredWorkload, "kind" | "metadata">): readonly Pod[] {
  const owned = [...world.pods.values()].filter((pod) => {
    const owner = world.ownerOf(pod);
    return owner?.kind === kind && owner.uid === metadata.uid && isPodAlive(pod);
  });
  return owned.toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name, "en", { numeric: true }));
}

function sameTemplate(kind: WorkloadKind, a: StoredWorkload, b: StoredWorkload): boolean {
  return isDeepStrictEqual(kind.template(a), kind.template(b));
}

/** How many Pods it wants. A DaemonSet wants one for each node that fits. */
function wantedOf(world: World, workload: StoredWorkload): number {
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
function surplus(world: World, workload: StoredWorkload, pods: readonly Pod[]): readonly Pod[] {
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
function newPod(world: World, workload: StoredWorkload, name: string, nodeName?: string): Pod {
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
function missing(world: World, workload: StoredWorkload, pods: readonly Pod[]): readonly Pod[] {
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

function addPods(world: World, workload: StoredWorkload, old: readonly Pod[], nics: readonly string[]) {
  const inOrder = isOrdered(workload);
  return startAll(world, missing(world, workload, old), { nics, inOrder });
}

/** Each Pod waits for the one before it: where one has no address, its StatefulSet makes and replaces nothing. */
function isOrdered({ kind, spec }: StoredWorkload): boolean {
  const { podManagementPolicy = "OrderedReady" } = (spec ?? {}) as { readonly podManagementPolicy?: string };
  return kind === "StatefulSet" && podManagementPolicy === "OrderedReady";
}

function startAll(
  world: World,
  pods: readonly Pod[],
  { nics = [], inOrder = false }: { readonly nics?: readonly string[]; readonly inOrder?: boolean } = {},
): readonly Unstarted[] {
  const failed: Unstarted[] = [];
  for (const pod of pods) {
    const start = startPod(world, pod, { nics });
    if (start.kind === "fails") failed.push({ pod, failure: start });
    if (start.kind === "fails" && inOrder) break;
  }
  return failed;
}

/** Replaces Pods one by one. The old Pod ends first. If the new one does not start, the others stay as they are. */
function replaceInOrder(
  world: World,
  workload: StoredWorkload,
  old: readonly Pod[],
  nics: readonly string[],
): readonly Unstarted[] {
  const { updateStrategy } = (workload.spec ?? {}) as SpecOf;
  if (updateStrategy?.type === "OnDelete") return addPods(world, workload, old, nics);
  const { partition = 0 } = updateStrategy?.rollingUpdate ?? {};
  const added = addPods(world, workload, old, nics);
  if (added.length > 0 && workload.kind === "StatefulSet") return added;
  const isKept = ({ metadata }: Pod) => Number(/-([0-9]+)$/.exec(metadata.name)?.[1] ?? 0) < partition;
  const replaced = workload.kind === "StatefulSet" ? old.filter((pod) => !isKept(pod)).toReversed() : old;
  for (const pod of replaced) {
    const next = newPod(world, workload, pod.metadata.name, pod.spec?.nodeName);
    world.end(pod, `${workload.kind} ${keyOf(workload.metadata)} has a new template`);
    const failed = startAll(world, [next], { nics });
    if (failed.length > 0) return [...added, ...failed];
  }
  return added;
}

/** Replaces Pods by a rolling update: adds new ones within the surge, and removes old ones as soon as there are enough. */
function replaceDeployment(
  world: World,
  workload: StoredWorkload,
  before: readonly Pod[],
  nics: readonly string[],
): readonly Unstarted[] {
  const wanted = wantedOf(world, workload);
  const { strategy } = (workload.spec ?? {}) as SpecOf;
  const why = `Deployment ${keyOf(workload.metadata)} has a new template`;
  const old = before;
  const fresh = [...missing(world, workload, [])];
  if (strategy?.type === "Recreate") {
    for (const pod of old) world.end(pod, why);
    return startAll(world, fresh, { nics });
  }
  const { maxSurge = "25%", maxUnavailable = "25%" } = strategy?.rollingUpdate ?? {};
  const surge = share(maxSurge, wanted, Math.ceil);
  const unavailable =
    surge === 0 ? Math.max(1, share(maxUnavailable, wanted, Math.floor)) : share(maxUnavailable, wanted, Math.floor);
  const least = wanted - unavailable;
  const waiting = [...fresh];
  let running = 0;
  let failed: readonly Unstarted[] = [];
  const broken = old.filter((pod) => isWaiting(world, pod));
  const ready = old.filter((pod) => !broken.includes(pod));
  const endOne = (of: Pod[]) => {
    const gone = of.pop();
    if (gone !== undefined) world.end(gone, why);
    return gone !== undefined;
  };
  for (let moved = true; moved; ) {
    moved = false;
    failed = [];
    for (const pod of waiting.slice(0, Math.max(0, wanted + surge - ready.length - broken.length - running))) {
      const start = startPod(world, pod, { nics });
      if (start.kind === "fails") failed = [...failed, { pod, failure: start }];
      else {
        waiting.splice(waiting.indexOf(pod), 1);
        running += 1;
        moved = true;
      }
    }
    // Pods that do not run are removed first, because nobody misses them.
    while (ready.length + broken.length + running > least && endOne(broken)) moved = true;
    while (ready.length + running > least && endOne(ready)) moved = true;
  }
  return failed;
}

function share(value: number | string, of: number, round: (n: number) => number): number {
  return typeof value === "number" ? value : round((Number.parseFloat(value) / 100) * of);
}

/** Whether the Pod exists but has none of its addresses. */
function isWaiting(world: World, pod: Pod): boolean {
  return pod.spec?.hostNetwork !== true && world.claimsOfPod(pod).length === 0 && needsAddress(world, pod);
}

function needsAddress(world: World, pod: Pod): boolean {
  const start = startOf(world, pod);
  return start.kind === "fails" || start.addresses.length > 0;
}

/** NICs with addresses of Pods like these: the default network of a node is known to the node only. */
function nicsOf(world: World, pods: readonly Pod[]): readonly string[] {
  return [...new Set(pods.flatMap((pod) => world.claimsOfPod(pod).flatMap(({ spec }) => spec.nic ?? [])))];
}
