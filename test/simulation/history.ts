import type { Effect, Verb } from "./cluster/requests.ts";

/** Who a fault is about: `agent 0` of the first node, `controller 1` of the second replica. */
export type Who = `agent ${number}` | `controller ${number}`;

type PodForm = "bare" | "job" | "static" | "empty-uid";

/** What happens to the StatefulSet; `at` is the number of its replicas, or an ordinal. */
export type StatefulAct = "scale" | "restart" | "force" | "crash" | "delete" | "orphan";

/** What happens to the virtual machine. */
export type VirtualAct = "start" | "lose" | "force" | "crash" | "stop" | "migrate" | "stay";

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
  | { readonly kind: "plan"; readonly of: "stateful" | "app" | "pool"; readonly at: number; readonly size: number }
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

/** One line for each thing, to be read by people and by {@link parseHistory}. */
export function formatHistory({ seed, ops }: History): string {
  return [JSON.stringify({ seed }), ...ops.map((op) => JSON.stringify(op))].join("\n");
}

/** Reads what {@link formatHistory} wrote. */
export function parseHistory(text: string): History {
  const [head = "{}", ...rest] = text.trim().split("\n");
  return { seed: String(JSON.parse(head).seed), ops: rest.map((line): Op => JSON.parse(line)) };
}
