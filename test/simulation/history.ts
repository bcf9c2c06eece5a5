import { stages } from "#base";
import { type Effect, effects, type Verb, verbs } from "./cluster/server.ts";
import { Random } from "./runtime/random.ts";

/** Who a fault is about: `agent 0` of the first node, `controller 1` of the second replica. */
export type Who = `agent ${number}` | `controller ${number}`;

const podForms = ["bare", "job", "static", "empty-uid"] as const;
type PodForm = (typeof podForms)[number];

const statefulActs = [
  "scale",
  "scale",
  "scale",
  "restart",
  "restart",
  "restart",
  "force",
  "force",
  "crash",
  "delete",
  "orphan",
] as const;
/** What happens to the StatefulSet; `at` is the number of its replicas, or an ordinal. */
export type StatefulAct = (typeof statefulActs)[number];

const virtualActs = [
  ...["start", "start", "start", "lose", "force", "crash", "stop"],
  ...["migrate", "migrate", "migrate", "migrate", "stay", "stay"],
] as const;
/** What happens to the virtual machine. */
export type VirtualAct = (typeof virtualActs)[number];

/** What a plan may be about. */
const plannable = ["stateful", "app", "pool"] as const;

/** One thing that happens to the cluster from outside. What does not apply any more when its time comes does nothing. */
export type Op = { readonly atMs: number } & (
  | {
      readonly kind: "create";
      readonly slot: number;
      readonly node: number;
      readonly nics: number;
      readonly form: PodForm;
    }
  /** An application is scaled up: Pods in slots from `slot` on, all at once on all nodes. */
  | { readonly kind: "burst"; readonly slot: number; readonly count: number }
  | { readonly kind: "delete"; readonly slot: number; readonly force: boolean }
  | { readonly kind: "finish" | "crash" | "second-sandbox" | "lose-mirror"; readonly slot: number }
  | { readonly kind: "kill-agent"; readonly node: number; readonly downMs: number }
  | { readonly kind: "trap-agent"; readonly node: number; readonly point: string; readonly downMs: number }
  | { readonly kind: "reboot"; readonly node: number; readonly downMs: number }
  | { readonly kind: "partition"; readonly node: number; readonly ms: number }
  | { readonly kind: "restart-kubelet"; readonly node: number }
  | { readonly kind: "lose-records"; readonly node: number; readonly torn: boolean }
  | { readonly kind: "gc"; readonly node: number; readonly empty: boolean }
  | { readonly kind: "kill-controller"; readonly at: number; readonly downMs: number }
  | { readonly kind: "pause"; readonly who: Who; readonly ms: number }
  | { readonly kind: "fault"; readonly who: Who; readonly verb: Verb; readonly effect: Effect }
  | { readonly kind: "lag"; readonly who: Who; readonly plural: string; readonly ms: number }
  | { readonly kind: "break-watches"; readonly who: Who; readonly expire: boolean }
  | { readonly kind: "half-open"; readonly who: Who }
  | { readonly kind: "stateful"; readonly act: StatefulAct; readonly at: number }
  /** A virtual machine starts, stops, loses its Pod, or migrates live, which is given up when it stays. */
  | { readonly kind: "virtual"; readonly act: VirtualAct }
  /** A host that is not ours takes an address of a pool, by its place in it. */
  | { readonly kind: "foreign"; readonly pool: number; readonly at: number; readonly ms: number }
  | { readonly kind: "pool-size"; readonly pool: number; readonly size: number }
  | { readonly kind: "pool-delete" | "pool-create"; readonly pool: number }
  /** Networks name another pool from now on, that gets its addresses as soon as it is gone; the Pods are made anew. */
  | { readonly kind: "pool-rename"; readonly pool: number }
  /** When all is at rest: what would come of a change is asked, and it is made. The last one counts. */
  | { readonly kind: "plan"; readonly of: (typeof plannable)[number]; readonly at: number; readonly size: number }
  /** Networks give their Pods an IPv6 address, too, from one pool of this size. */
  | { readonly kind: "dual-stack"; readonly size: number }
  /** A node's object is deleted; its machine, which may run on, registers anew later: another UID, another Pod network. */
  | { readonly kind: "node-anew"; readonly node: number; readonly ms: number }
  /** A machine is off for certain, and its node is tainted out-of-service until it is on again. */
  | { readonly kind: "out-of-service"; readonly node: number; readonly ms: number }
  /** A pool that nobody uses is deleted; a node's agent, which hears of it late, is asked for addresses meanwhile. */
  | { readonly kind: "pool-delete-unseen"; readonly pool: number; readonly node: number; readonly ms: number }
  /** Somebody labels a claim, by its place among all: whatever was decided on it before must be decided again. */
  | { readonly kind: "claim-edit"; readonly at: number }
  /** Somebody takes a claim's own labels away, or gives it those of another pool and node. */
  | { readonly kind: "claim-labels"; readonly at: number; readonly to: "none" | "other" }
  /** Somebody deletes a claim, whoever uses its address. */
  | { readonly kind: "claim-delete"; readonly at: number }
  /** What makes Pods for StatefulSets is away, and one of theirs is deleted. */
  | { readonly kind: "manager-away"; readonly at: number; readonly ms: number }
  /** etcd is saved; later it is put back to that. */
  | { readonly kind: "backup" | "restore" }
  /** Both, and meanwhile all Pods are deleted: they come back with what they had. */
  | { readonly kind: "rewind"; readonly ms: number }
  /** Pods are started at once on one node, and kubelet makes a second sandbox of each beside the first. */
  | { readonly kind: "second-sandboxes"; readonly slot: number; readonly count: number; readonly node: number }
  /** When all is at rest: all Pods go, then all nodes want all addresses at once, and those Pods go, too. */
  | { readonly kind: "rush" }
  /** An application whose Pods have their addresses from a part of a subnet is made, or asks for something else. */
  | {
      readonly kind: "app";
      readonly app: number;
      readonly replicas: number;
      readonly ipNumber: string;
      readonly reclaim: boolean;
    }
  | { readonly kind: "app-delete" | "app-restart"; readonly app: number }
  | { readonly kind: "subnet-size"; readonly size: number }
  /** A replica hears of claims late. */
  | { readonly kind: "part-lag"; readonly at: number; readonly ms: number }
  /** Something happens to a replica's next write of a pool or a subnet. */
  | {
      readonly kind: "part-fault";
      readonly at: number;
      readonly plural: string;
      readonly verb: Verb;
      readonly effect: Effect;
    }
);

/** A whole run: with the same seed, the same happens. */
export interface History {
  readonly seed: string;
  readonly ops: readonly Op[];
}

export const shape = {
  nodes: 3,
  controllers: 2,
  slots: 14,
  pools: 2,
  poolSizeMax: 16,
  applications: 3,
  subnetSizeMax: 20,
} as const;

export function poolName(at: number): string {
  return `pool-${"abcdef"[at] ?? at}`;
}

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

const watched = ["pods", "spiderippools", "spiderpoolusages", "spideripaddresses", "nodes"];

function randomPoint(random: Random): string {
  const verb = random.pick(["ADD", "ADD", "DEL"]);
  return `${verb} ${random.pick(stages)}:${random.pick(["before", "after"])}`;
}

/** One line for each thing, to be read by people and by {@link parseHistory}. */
export function formatHistory({ seed, ops }: History): string {
  return [JSON.stringify({ seed }), ...ops.map((op) => JSON.stringify(op))].join("\n");
}

/** Reads what {@link formatHistory} wrote. */
export function parseHistory(text: string): History {
  const [head = "{}", ...rest] = text.trim().split("\n");
  return { seed: String(JSON.parse(head).seed), ops: rest.map((line): Op => JSON.parse(line)) };
}
