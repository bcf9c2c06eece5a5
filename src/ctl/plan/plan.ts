import type { SpiderIPPool } from "#api";
import { formatIp } from "#ip";
import { isPodAlive, keyOf, type Pod } from "#kube";
import { type Claim, isHeld } from "#ledger";
import { type Admitted, admit } from "./admit.ts";
import { endPods, startPods, type Unstarted, type WorkloadChange } from "./roll.ts";
import { applicationOf, settle } from "./settle.ts";
import { type Start, startOf, startPod } from "./start.ts";
import type { Change, Loss, Plan, PoolChange, State, Stuck } from "./state.ts";
import { counted } from "./workload-pods.ts";
import { type Freed, World } from "./world.ts";

/** How objects are read. */
interface PlanOptions {
  /** The namespace of objects that name none. */
  readonly namespace: string;
}

/**
 * What a change would lead to in the end, by the rules of admission, the controller's planner of subnets, and the agents'
 * selection. Pure: the state itself is not changed.
 */
export function planChange(state: State, change: Change, { namespace }: PlanOptions): Plan {
  // What would happen without the change, too, is no effect of it.
  const [{ world: before, unmet: without }, { world }] = [atRest(state), atRest(state)];
  const admitted = admit(world, change, namespace);
  const workloads = changesOf(world, admitted);
  for (const workload of workloads) endPods(world, workload);
  settle(world);
  startWaiting(world);
  const unstarted = workloads.flatMap((workload) => startPods(world, workload));
  const unmet = settle(world);
  const restarts = restartsOf(before, world);
  return {
    refused: admitted.refused,
    pools: poolChanges(before, world, admitted),
    losses: [...world.freed.filter(isLoss).map(lossNow), ...restarts.losses],
    stuck: [...unstarted.map((one) => stuckNow(world, one)), ...restarts.stuck],
    unmet: unmet.filter((one) => !without.includes(one)),
    notes: [
      ...admitted.undone,
      ...admitted.ignored.map((object) => `${object} has nothing to do with addresses, as far as is known here`),
    ],
  };
}

function atRest(state: State): { readonly world: World; readonly unmet: readonly string[] } {
  const world = new World(state);
  settle(world);
  startWaiting(world);
  const unmet = settle(world);
  world.freed.length = 0;
  return { world, unmet };
}

/** Pods that are on a node without addresses: kubelet tries again and again. */
function startWaiting(world: World): void {
  for (const pod of [...world.pods.values()]) {
    const { nodeName, hostNetwork } = pod.spec ?? {};
    if (nodeName === undefined || hostNetwork === true || !isPodAlive(pod)) continue;
    if (world.claimsOfPod(pod).length === 0) startPod(world, pod);
  }
}

function changesOf(world: World, { workloads }: Admitted): readonly WorkloadChange[] {
  return [...workloads].map(([key, before]) => {
    const found = world.workloads.get(key);
    const after = found && counted(world, found);
    if (after !== undefined) world.workloads.set(key, after);
    // A bare Pod is no workload of the cluster.
    if (after?.kind === "Pod") world.workloads.delete(key);
    return { key, before, after };
  });
}

function isLoss({ claim }: Freed): boolean {
  return isHeld(claim);
}

function lossNow({ claim, why }: Freed): Loss {
  return { ...lossOf(claim), why, when: "now" };
}

function lossOf({ ip, spec }: Claim): Pick<Loss, "address" | "pool" | "pod"> {
  return { address: formatIp(ip), pool: spec.pool, pod: `${spec.podNamespace}/${spec.podName}` };
}

function stuckNow(world: World, { pod, failure: { code, why } }: Unstarted): Stuck {
  return { pod: keyOf(pod.metadata), sticky: world.isSticky(pod), when: "now", code, why };
}

/** Pods that go on, but because of the change could not start again, or not with the same address. */
function restartsOf(
  before: World,
  after: World,
): { readonly stuck: readonly Stuck[]; readonly losses: readonly Loss[] } {
  const stuck: Stuck[] = [];
  const losses: Loss[] = [];
  for (const [key, pod] of after.pods) {
    const old = before.pods.get(key);
    if (old === undefined || old.metadata.uid !== pod.metadata.uid || !isPodAlive(pod)) continue;
    if (pod.spec?.hostNetwork === true) continue;
    const [was, is] = [restartOf(before, old), restartOf(after, pod)];
    if (is.kind === "fails" && was.kind === "runs") {
      const { code, why } = is;
      stuck.push({ pod: key, sticky: after.isSticky(pod), when: "at its restart", code, why });
    }
    for (const claim of is.givenUp) {
      if (was.givenUp.some(({ name }) => name === claim.name)) continue;
      const why = `its IPPool ${claim.spec.pool} is not among those that the Pod would be given addresses from`;
      losses.push({ ...lossOf(claim), why, when: "at its restart" });
    }
  }
  return { stuck, losses };
}

function restartOf(world: World, pod: Pod): Start {
  const claims = world.claimsOfPod(pod);
  const returned = claims.filter(({ spec }) => spec.purpose === "Pod");
  const nics = [...new Set(claims.flatMap(({ spec }) => spec.nic ?? []))];
  return startOf(world, pod, { returned, nics });
}

function poolChanges(before: World, after: World, { pools: touched }: Admitted): readonly PoolChange[] {
  const names = [...new Set([...before.pools.keys(), ...after.pools.keys()])].toSorted();
  return names.flatMap((pool): readonly PoolChange[] => {
    const [old, now] = [before.pools.get(pool), after.pools.get(pool)];
    const [was, is] = [old && before.counts(pool), now && after.counts(pool)];
    const isSame = was?.total === is?.total && was?.used === is?.used && was?.free === is?.free;
    if (isSame && !touched.has(pool) && isTerminating(now) === isTerminating(old)) return [];
    const isShared = now !== undefined && !isTerminating(now) && applicationOf(now) === undefined;
    const isDry = isShared && is?.free === 0n && was?.free !== 0n;
    const isEdited = touched.has(pool) || was?.total !== is?.total;
    return [
      { pool, change: changeOf(old, now, isEdited), ...(was && { before: was }), ...(is && { after: is }), dry: isDry },
    ];
  });
}

function changeOf(
  old: SpiderIPPool | undefined,
  now: SpiderIPPool | undefined,
  isEdited: boolean,
): PoolChange["change"] {
  if (now === undefined) return "deleted";
  if (old === undefined) return "made";
  if (isTerminating(now)) return "deleting";
  return isEdited ? "changed" : "used";
}

function isTerminating(pool: SpiderIPPool | undefined): boolean {
  return pool?.metadata.deletionTimestamp !== undefined;
}
