import { stages } from "#base";
import { Random } from "./random.ts";
import { type Effect, effects, type Verb, verbs } from "./server.ts";

/** Who a fault is about: `agent 0` of the first node, `controller 1` of the second replica. */
export type Who = `agent ${number}` | `controller ${number}`;

const podForms = ["bare", "job", "static", "empty-uid"] as const;
export type PodForm = (typeof podForms)[number];

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
  /** A host that is not ours takes an address of a pool, by its place in it. */
  | { readonly kind: "foreign"; readonly pool: number; readonly at: number; readonly ms: number }
  | { readonly kind: "pool-size"; readonly pool: number; readonly size: number }
  | { readonly kind: "pool-delete" | "pool-create"; readonly pool: number }
  /** etcd is saved; later it is put back to that. */
  | { readonly kind: "backup" | "restore" }
);

/** A whole run: with the same seed, the same happens. */
export interface History {
  readonly seed: string;
  readonly ops: readonly Op[];
}

export const shape = { nodes: 3, controllers: 2, slots: 14, pools: 2, poolSizeMax: 16 } as const;

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

function randomOp(random: Random, trouble: number, focus: Focus): Op {
  const atMs = Math.round(random.between(0, turmoilMs));
  const node = random.int(shape.nodes);
  const slot = random.int(shape.slots);
  const pool = random.int(shape.pools);
  const who: Who = random.chance(0.75) ? `agent ${node}` : `controller ${random.int(shape.controllers)}`;
  const downMs = random.pick([200, 3_000, 20_000, 90_000]);
  const ms = random.pick([300, 2_000, 12_000, 70_000]);
  const lagMs = random.pick([300, 3_000, 20_000, 70_000, 200_000]);
  const kinds: readonly (readonly [number, () => Op])[] = [
    [
      30,
      () => ({
        ...{ atMs, kind: "create", slot, node },
        nics: random.chance(0.2) ? 2 : 1,
        form: random.weighted([
          [8, "bare"],
          [2, "job"],
          [1, "static"],
          [1, "empty-uid"],
        ] as const),
      }),
    ],
    [1.5, () => ({ atMs, kind: "burst", slot, count: 3 + random.int(shape.slots - 3) })],
    [16, () => ({ atMs, kind: "delete", slot, force: random.chance(0.15) })],
    [3, () => ({ atMs, kind: "finish", slot })],
    [3, () => ({ atMs, kind: "crash", slot })],
    [1.5, () => ({ atMs, kind: "lose-mirror", slot })],
    [2 * trouble, () => ({ atMs, kind: "second-sandbox", slot })],
    [3 * trouble, () => ({ atMs, kind: "kill-agent", node, downMs })],
    [6 * trouble, () => ({ atMs, kind: "trap-agent", node, point: randomPoint(random), downMs })],
    [1.5 * trouble, () => ({ atMs, kind: "reboot", node, downMs: Math.max(downMs, 20_000) })],
    [2 * trouble, () => ({ atMs, kind: "partition", node, ms: random.chance(0.3) ? 240_000 : ms })],
    [1 * trouble, () => ({ atMs, kind: "restart-kubelet", node })],
    [1 * trouble, () => ({ atMs, kind: "lose-records", node, torn: random.chance(0.5) })],
    [1, () => ({ atMs, kind: "gc", node, empty: random.chance(0.3) })],
    [2 * trouble, () => ({ atMs, kind: "kill-controller", at: random.int(shape.controllers), downMs })],
    [3 * trouble, () => ({ atMs, kind: "pause", who, ms })],
    [26 * trouble, () => ({ atMs, kind: "fault", who, verb: random.pick(verbs), effect: random.pick(effects) })],
    [4 * trouble, () => ({ atMs, kind: "lag", who, plural: random.pick(watched), ms: lagMs })],
    [3 * trouble, () => ({ atMs, kind: "break-watches", who, expire: random.chance(0.4) })],
    [1.5 * trouble, () => ({ atMs, kind: "half-open", who })],
    [6, () => ({ atMs, kind: "stateful", act: random.pick(statefulActs), at: random.int(4) })],
    [1, () => ({ atMs, kind: "foreign", pool, at: random.int(8), ms: ms * 3 })],
    [2, () => ({ atMs, kind: "pool-size", pool, size: 1 + random.int(shape.poolSizeMax) })],
    [0.7, () => ({ atMs, kind: "pool-delete", pool })],
    [1.5, () => ({ atMs, kind: "pool-create", pool })],
    [0, () => ({ atMs, kind: "backup" })],
    [0, () => ({ atMs, kind: "restore" })],
  ];
  const more = kinds.flatMap(([weight, make]) =>
    focus.includes(make().kind) ? [[weight === 0 ? 6 : weight * 12, make] as const] : [],
  );
  return random.weighted([...kinds, ...more])();
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
