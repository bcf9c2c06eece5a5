import assert from "node:assert/strict";
import { spiderIPPools, spiderPoolUsages } from "#api";
import { formatIp } from "#ip";
import { keyOf, type Pod, pods } from "#kube";
import { fractionsFrom } from "../../src/base/testing/random.ts";
import { planChange } from "../../src/ctl/plan/plan.ts";
import { startOf } from "../../src/ctl/plan/start.ts";
import type { Plan, State } from "../../src/ctl/plan/state.ts";
import { World } from "../../src/ctl/plan/world.ts";
import { Changes } from "./changes.ts";
import { PlanLab } from "./lab.ts";
import { anonymous, type Outcome, play } from "./play.ts";

/** Changes that each world goes through. */
export const changesEach = 25;

/** Everything that plan and cluster can be compared by. */
interface Compared {
  readonly refused: readonly string[];
  readonly pools: Readonly<Record<string, string>>;
  readonly losses: readonly string[];
  readonly stuck: readonly string[];
}

function ofPlan(state: State, plan: Plan): Compared {
  const world = new World(state);
  const numbers = new Map<string, string>();
  for (const pool of state.pools) {
    const { total, free } = world.counts(pool.metadata.name);
    numbers.set(pool.metadata.name, `${total} ${free} ${pool.metadata.deletionTimestamp !== undefined}`);
  }
  for (const { pool, change, after } of plan.pools) {
    if (after === undefined) numbers.delete(pool);
    else numbers.set(pool, `${after.total} ${after.free} ${change === "deleting"}`);
  }
  const before = new Set(state.claims.map(({ ip, spec }) => `${formatIp(ip)} ${spec.podNamespace}/${spec.podName}`));
  return {
    refused: plan.refused.map(({ object }) => object),
    pools: sorted(numbers),
    losses: plan.losses
      .filter(({ when }) => when === "now")
      .map(({ address, pod }) => `${address} ${pod}`)
      .filter((one) => before.has(one))
      .toSorted(),
    stuck: plan.stuck
      .filter(({ when }) => when === "now")
      .map(({ pod }) => anonymous(pod))
      .toSorted(),
  };
}

/** Names of pools of applications end in what the API server chose. */
function sorted(numbers: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  const list = [...numbers].map(([name, text]) => [name.replace(/^(auto4-\w+-eth0).*/, "$1"), text] as const);
  return Object.fromEntries(list.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function ofLab(
  lab: PlanLab,
  before: ReadonlyMap<string, string>,
  { refused, stuck }: Outcome,
  held: PlanLab["held"],
): Compared {
  const numbers = new Map<string, string>();
  for (const { metadata, status } of lab.api.all(spiderIPPools)) {
    const usage = lab.api.read(spiderPoolUsages, { name: metadata.name })?.spec;
    numbers.set(metadata.name, `${status?.totalIPCount} ${usage?.free} ${metadata.deletionTimestamp !== undefined}`);
  }
  return {
    refused,
    pools: sorted(numbers),
    losses: [...before]
      .filter(([ip, pod]) => held.get(ip) !== pod)
      .map(([ip, pod]) => `${ip} ${pod}`)
      .toSorted(),
    stuck: stuck.map((pod) => `default/${pod}`).toSorted(),
  };
}

/** Restarts one Pod that ran through the change; says whether it could, and whether it could before. */
async function restart(lab: PlanLab, state: State, pod: Pod, plan: Plan, told: string): Promise<void> {
  const key = keyOf(pod.metadata);
  const old = new World(state);
  const claims = old.claimsOfPod(pod).filter(({ spec }) => spec.purpose === "Pod");
  const couldBefore = startOf(old, pod, { returned: claims }).kind === "runs";
  const predicted = plan.stuck.some((one) => one.pod === key && one.when === "at its restart");
  const couldKeep = (world: World) => startOf(world, pod, { returned: claims }).givenUp.length === 0;
  const given = lab.addressesOf(key);
  const loses = plan.losses.some((one) => one.pod === key && one.when === "at its restart");
  const owner = pod.metadata.ownerReferences?.[0] ?? assert.fail("a Pod without owner");
  await lab.endPod(pod.metadata.name);
  const { name, annotations = {} } = pod.metadata;
  const why = await lab.makePod({ name, node: pod.spec?.nodeName ?? "", owner, annotations });
  if (couldBefore) assert.equal(why !== undefined, predicted, `restart of ${key}: ${why ?? "it runs"}\n${told}`);
  else assert.equal(predicted, false, `restart of ${key}\n${told}`);
  if (new World(state).isSticky(pod) && couldKeep(old)) {
    const kept = given.every((ip) => lab.held.get(ip) === key);
    assert.equal(kept, !loses, `addresses of ${key} after its restart\n${told}`);
  }
}

/** Plans random changes of one world, makes them, and asserts that what was said is what came of it. */
export async function comparePlans(seed: number): Promise<void> {
  await using lab = await PlanLab.start();
  const random = fractionsFrom(seed);
  const changes = new Changes(random);
  for (let step = 0; step < changesEach; step++) {
    const change = step === 0 ? changes.first() : changes.next();
    const state = await lab.state();
    const plan = planChange(state, change, { namespace: "default" });
    const before = lab.held;
    const running = new Map(lab.api.all(pods).map((pod) => [pod.metadata.name, pod.metadata.uid]));
    const outcome = await play(lab, change);
    const told = `step ${step} ${JSON.stringify(change)}\n${JSON.stringify(plan, (_key, value) => (typeof value === "bigint" ? Number(value) : value))}`;
    assert.deepEqual(ofLab(lab, before, outcome, lab.held), ofPlan(state, plan), told);
    const through = lab.api
      .all(pods)
      .filter(({ metadata }) => running.get(metadata.name) === metadata.uid && lab.isRunning(metadata.name));
    const pod = through[Math.floor(random() * through.length)];
    if (pod !== undefined && random() < 0.5) await restart(lab, state, pod, plan, told);
    await lab.rest();
  }
}
