import { isDeepStrictEqual } from "node:util";
import type { WorkloadKind } from "#ipam";
import { keyOf, type Pod } from "#kube";
import { asPod } from "./admit.ts";
import { type Start, startOf, startPod } from "./start.ts";
import { kindOf, type StoredWorkload } from "./state.ts";
import { missing, newPod, podsOf, surplus, wantedOf } from "./workload-pods.ts";
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
  const replace = isNew ? replacing[after.kind] : undefined;
  return (replace ?? addPods)(world, after, old, nics);
}

/** How Pods of a former template are replaced. Those of other kinds, a ReplicaSet or a Job, stay as they were made. */
const replacing: Readonly<Record<string, typeof addPods>> = {
  Deployment: replaceDeployment,
  StatefulSet: replaceInOrder,
  DaemonSet: replaceInOrder,
};

function sameTemplate(kind: WorkloadKind, a: StoredWorkload, b: StoredWorkload): boolean {
  return isDeepStrictEqual(kind.template(a), kind.template(b));
}

function addPods(
  world: World,
  workload: StoredWorkload,
  old: readonly Pod[],
  nics: readonly string[],
): readonly Unstarted[] {
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
  old: readonly Pod[],
  nics: readonly string[],
): readonly Unstarted[] {
  const { strategy } = (workload.spec ?? {}) as SpecOf;
  const why = `Deployment ${keyOf(workload.metadata)} has a new template`;
  let waiting = missing(world, workload, []);
  if (strategy?.type === "Recreate") {
    for (const pod of old) world.end(pod, why);
    return startAll(world, waiting, { nics });
  }
  const { least, most } = boundsOf(strategy, wantedOf(world, workload));
  const [broken = [], ready = []] = [true, false].map((is) => old.filter((pod) => isWaiting(world, pod) === is));
  const endLast = (of: Pod[], count: number) => {
    const ended = count > 0 ? of.splice(-count).toReversed() : [];
    for (const pod of ended) world.end(pod, why);
    return ended.length;
  };
  for (let running = 0; ; ) {
    const tried = waiting.slice(0, Math.max(0, most - ready.length - broken.length - running));
    const failed = startAll(world, tried, { nics });
    waiting = [...failed.map(({ pod }) => pod), ...waiting.slice(tried.length)];
    running += tried.length - failed.length;
    // Pods that do not run are removed first, because nobody misses them.
    const ended =
      endLast(broken, ready.length + broken.length + running - least) + endLast(ready, ready.length + running - least);
    if (failed.length === tried.length && ended === 0) return failed;
  }
}

/** How many Pods a rolling update keeps at least, and has at most. */
function boundsOf(strategy: Strategy | undefined, wanted: number): { readonly least: number; readonly most: number } {
  const { maxSurge = "25%", maxUnavailable = "25%" } = strategy?.rollingUpdate ?? {};
  const surge = share(maxSurge, wanted, Math.ceil);
  const unavailable = share(maxUnavailable, wanted, Math.floor);
  // Where there is room for none more, one must go first.
  return { least: wanted - (surge === 0 ? Math.max(1, unavailable) : unavailable), most: wanted + surge };
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
