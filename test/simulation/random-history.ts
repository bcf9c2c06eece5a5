import { stages } from "#base";
import { effects, verbs } from "./cluster/requests.ts";
import { type History, type Op, type StatefulAct, shape, type VirtualAct, type Who } from "./history.ts";
import { Random } from "./runtime/random.ts";

/** How long things happen from outside, before all heals and the world comes to rest. */
const turmoilMs = 240_000;

/** Kinds of things that happen far more often than usual. */
export type Focus = readonly Op["kind"][];

/** A history of about `size` things. */
export function randomHistory(
  seed: string,
  { focus = [], size = 110 }: { readonly focus?: Focus; readonly size?: number } = {},
): History {
  const random = new Random(seed, "history");
  // Some worlds are calm, some are not: faults that come alone leave other traces than those that come in heaps.
  const trouble = random.pick([0.15, 0.5, 1]);
  const ops = Array.from({ length: size }, () => randomOp(random, trouble, focus));
  return { seed, ops: ops.sort((a, b) => a.atMs - b.atMs) };
}

/** The more often a name stands here, the more often it happens. */
const statefulActs: readonly StatefulAct[] = [
  ...(["scale", "scale", "scale", "restart", "restart", "restart"] as const),
  ...(["force", "force", "crash", "delete", "orphan"] as const),
];
const virtualActs: readonly VirtualAct[] = [
  ...(["start", "start", "start", "lose", "force", "crash", "stop"] as const),
  ...(["migrate", "migrate", "migrate", "migrate", "stay", "stay"] as const),
];
const plannable = ["stateful", "app", "pool"] as const;

const watched = ["pods", "spiderippools", "spiderpoolusages", "spideripaddresses", "nodes"];

const isTrouble = true;

/** What a thing is made of, drawn once for each. */
interface Draws {
  readonly random: Random;
  readonly atMs: number;
  readonly node: number;
  readonly slot: number;
  readonly pool: number;
  readonly who: Who;
  readonly downMs: number;
  readonly ms: number;
  readonly lagMs: number;
}

interface Kind {
  /** How often it happens, compared with others. 0: only in histories that are about it. */
  readonly weight: number;
  /** It grows with the trouble of a history. */
  readonly isTrouble?: boolean;
  readonly make: (draws: Draws) => Op;
}

/** What happens in any history. Whatever is changed here, every seed is another history. */
const kinds = {
  create: {
    weight: 30,
    make: ({ random, atMs, slot, node }) => ({
      atMs,
      kind: "create",
      slot,
      node,
      nics: random.chance(0.2) ? 2 : 1,
      form: random.weighted([
        [8, "bare"],
        [2, "job"],
        [1, "static"],
        [1, "empty-uid"],
      ] as const),
    }),
  },
  burst: {
    weight: 1.5,
    make: ({ random, atMs, slot }) => ({ atMs, kind: "burst", slot, count: 3 + random.int(shape.slots - 3) }),
  },
  delete: {
    weight: 16,
    make: ({ random, atMs, slot }) => ({ atMs, kind: "delete", slot, force: random.chance(0.15) }),
  },
  finish: { weight: 3, make: ({ atMs, slot }) => ({ atMs, kind: "finish", slot }) },
  crash: { weight: 3, make: ({ atMs, slot }) => ({ atMs, kind: "crash", slot }) },
  "lose-mirror": { weight: 1.5, make: ({ atMs, slot }) => ({ atMs, kind: "lose-mirror", slot }) },
  "second-sandbox": { weight: 2, isTrouble, make: ({ atMs, slot }) => ({ atMs, kind: "second-sandbox", slot }) },
  "kill-agent": {
    weight: 3,
    isTrouble,
    make: ({ atMs, node, downMs }) => ({ atMs, kind: "kill-agent", node, downMs }),
  },
  "trap-agent": {
    weight: 6,
    isTrouble,
    make: ({ random, atMs, node, downMs }) => ({ atMs, kind: "trap-agent", node, point: randomPoint(random), downMs }),
  },
  reboot: {
    weight: 1.5,
    isTrouble,
    make: ({ atMs, node, downMs }) => ({ atMs, kind: "reboot", node, downMs: Math.max(downMs, 20_000) }),
  },
  partition: {
    weight: 2,
    isTrouble,
    make: ({ random, atMs, node, ms }) => ({ atMs, kind: "partition", node, ms: random.chance(0.3) ? 240_000 : ms }),
  },
  "restart-kubelet": { weight: 1, isTrouble, make: ({ atMs, node }) => ({ atMs, kind: "restart-kubelet", node }) },
  "lose-records": {
    weight: 1,
    isTrouble,
    make: ({ random, atMs, node }) => ({ atMs, kind: "lose-records", node, torn: random.chance(0.5) }),
  },
  gc: { weight: 1, make: ({ random, atMs, node }) => ({ atMs, kind: "gc", node, empty: random.chance(0.3) }) },
  "kill-controller": {
    weight: 2,
    isTrouble,
    make: ({ random, atMs, downMs }) => ({
      atMs,
      kind: "kill-controller",
      at: random.int(shape.controllers),
      downMs,
    }),
  },
  pause: { weight: 3, isTrouble, make: ({ atMs, who, ms }) => ({ atMs, kind: "pause", who, ms }) },
  fault: {
    weight: 26,
    isTrouble,
    make: ({ random, atMs, who }) => ({
      atMs,
      kind: "fault",
      who,
      verb: random.pick(verbs),
      effect: random.pick(effects),
    }),
  },
  lag: {
    weight: 4,
    isTrouble,
    make: ({ random, atMs, who, lagMs }) => ({ atMs, kind: "lag", who, plural: random.pick(watched), ms: lagMs }),
  },
  "break-watches": {
    weight: 3,
    isTrouble,
    make: ({ random, atMs, who }) => ({ atMs, kind: "break-watches", who, expire: random.chance(0.4) }),
  },
  "half-open": { weight: 1.5, isTrouble, make: ({ atMs, who }) => ({ atMs, kind: "half-open", who }) },
  stateful: {
    weight: 6,
    make: ({ random, atMs }) => ({ atMs, kind: "stateful", act: random.pick(statefulActs), at: random.int(4) }),
  },
  foreign: {
    weight: 1,
    make: ({ random, atMs, pool, ms }) => ({ atMs, kind: "foreign", pool, at: random.int(8), ms: ms * 3 }),
  },
  "pool-size": {
    weight: 2,
    make: ({ random, atMs, pool }) => ({ atMs, kind: "pool-size", pool, size: 1 + random.int(shape.poolSizeMax) }),
  },
  "pool-delete": { weight: 0.7, make: ({ atMs, pool }) => ({ atMs, kind: "pool-delete", pool }) },
  "pool-create": { weight: 1.5, make: ({ atMs, pool }) => ({ atMs, kind: "pool-create", pool }) },
  backup: { weight: 0, make: ({ atMs }) => ({ atMs, kind: "backup" }) },
  restore: { weight: 0, make: ({ atMs }) => ({ atMs, kind: "restore" }) },
} satisfies { readonly [K in Op["kind"]]?: Kind };

/** What happens only in histories that are about it, with its weight there. */
const ownKinds = {
  plan: {
    weight: 1,
    make: ({ random, atMs }) => ({
      atMs,
      kind: "plan",
      of: random.pick(plannable),
      at: random.int(2),
      size: 1 + random.int(8),
    }),
  },
  virtual: { weight: 60, make: ({ random, atMs }) => ({ atMs, kind: "virtual", act: random.pick(virtualActs) }) },
  "pool-rename": { weight: 8, make: ({ atMs, pool }) => ({ atMs, kind: "pool-rename", pool }) },
  "dual-stack": {
    weight: 3,
    make: ({ random, atMs }) => ({ atMs, kind: "dual-stack", size: 4 + random.int(shape.poolSizeMax) }),
  },
  "manager-away": {
    weight: 20,
    make: ({ random, atMs }) => ({
      atMs,
      kind: "manager-away",
      at: random.int(3),
      ms: random.pick([20_000, 70_000, 120_000]),
    }),
  },
  "node-anew": {
    weight: 6,
    make: ({ random, atMs, node }) => ({
      atMs,
      kind: "node-anew",
      node,
      ms: random.pick([2_000, 30_000, 120_000, 400_000]),
    }),
  },
  "out-of-service": {
    weight: 4,
    make: ({ random, atMs, node }) => ({
      atMs,
      kind: "out-of-service",
      node,
      ms: random.pick([20_000, 70_000, 120_000]),
    }),
  },
  "pool-delete-unseen": {
    weight: 4,
    make: ({ random, atMs, pool, node }) => ({
      atMs,
      kind: "pool-delete-unseen",
      pool,
      node,
      ms: random.pick([10_000, 25_000, 45_000]),
    }),
  },
  rewind: { weight: 6, make: ({ atMs, ms }) => ({ atMs, kind: "rewind", ms }) },
  "second-sandboxes": {
    weight: 10,
    make: ({ random, atMs, node, slot }) => ({
      atMs,
      kind: "second-sandboxes",
      slot,
      node,
      count: 2 + random.int(shape.slots / 2),
    }),
  },
  rush: { weight: 40, make: ({ atMs }) => ({ atMs, kind: "rush" }) },
  "claim-edit": { weight: 20, make: ({ random, atMs }) => ({ atMs, kind: "claim-edit", at: random.int(24) }) },
  "claim-labels": {
    weight: 12,
    make: ({ random, atMs }) => ({
      atMs,
      kind: "claim-labels",
      at: random.int(24),
      to: random.pick(["none", "other"] as const),
    }),
  },
  "claim-delete": { weight: 10, make: ({ random, atMs }) => ({ atMs, kind: "claim-delete", at: random.int(24) }) },
  app: {
    weight: 30,
    make: ({ random, atMs }) => ({
      atMs,
      kind: "app",
      app: random.int(shape.applications),
      replicas: random.int(6),
      ipNumber: random.pick(["+0", "+1", "+3", "2", "5"]),
      reclaim: random.chance(0.7),
    }),
  },
  "app-delete": {
    weight: 6,
    make: ({ random, atMs }) => ({ atMs, kind: "app-delete", app: random.int(shape.applications) }),
  },
  "app-restart": {
    weight: 8,
    make: ({ random, atMs }) => ({ atMs, kind: "app-restart", app: random.int(shape.applications) }),
  },
  "subnet-size": {
    weight: 5,
    make: ({ random, atMs }) => ({ atMs, kind: "subnet-size", size: 8 + random.int(shape.subnetSizeMax - 8) }),
  },
  "part-lag": {
    weight: 6,
    make: ({ random, atMs, lagMs }) => ({ atMs, kind: "part-lag", at: random.int(shape.controllers), ms: lagMs }),
  },
  "part-fault": {
    weight: 8,
    make: ({ random, atMs }) => ({
      atMs,
      kind: "part-fault",
      at: random.int(shape.controllers),
      plural: random.pick(["spiderippools", "spidersubnets"]),
      verb: random.pick(["create", "update", "patch", "delete"] as const),
      effect: random.pick(effects),
    }),
  },
} satisfies { readonly [K in Exclude<Op["kind"], keyof typeof kinds>]: Kind };

/** What a kind that happens only in its own histories weighs there. */
const ownWeight = 6;
const focusTimes = 12;

function randomOp(random: Random, trouble: number, focus: Focus): Op {
  const atMs = Math.round(random.between(0, turmoilMs));
  const node = random.int(shape.nodes);
  const draws: Draws = {
    random,
    atMs,
    node,
    slot: random.int(shape.slots),
    pool: random.int(shape.pools),
    who: random.chance(0.75) ? `agent ${node}` : `controller ${random.int(shape.controllers)}`,
    downMs: random.pick([200, 3_000, 20_000, 90_000]),
    ms: random.pick([300, 2_000, 12_000, 70_000]),
    lagMs: random.pick([300, 3_000, 20_000, 70_000, 200_000]),
  };
  const weightOf = ({ weight, isTrouble: grows = false }: Kind) => (grows ? weight * trouble : weight);
  // What each of them draws is drawn for all: seeds do not know which are in focus.
  for (const { make } of Object.values(kinds)) make(draws);
  const all = Object.values(kinds).map((kind) => [weightOf(kind), kind] as const);
  const isFocus = ([name]: readonly [string, Kind]) => focus.some((one) => one === name);
  const more = [
    ...Object.entries<Kind>(kinds)
      .filter(isFocus)
      .map(([, kind]) => [weightOf(kind) * focusTimes || ownWeight, kind] as const),
    ...Object.entries<Kind>(ownKinds)
      .filter(isFocus)
      .map(([, kind]) => [weightOf(kind), kind] as const),
  ];
  return random.weighted([...all, ...more]).make(draws);
}

/** The names of all that may happen. */
export function allKinds(): readonly string[] {
  return Object.keys({ ...kinds, ...ownKinds });
}

/** Whether something of this name may happen. */
export function isKind(name: string): name is Op["kind"] {
  return Object.hasOwn(kinds, name) || Object.hasOwn(ownKinds, name);
}

function randomPoint(random: Random): string {
  const verb = random.pick(["ADD", "ADD", "DEL"]);
  return `${verb} ${random.pick(stages)}:${random.pick(["before", "after"])}`;
}
