import type { Sandbox } from "../lab/node/index.ts";

/** One thing that the runner does on a node, as a container runtime would. */
export type Task =
  /** ADD and DEL of one Pod after the other, with a rest of so long before each pair. @default no rest */
  | { readonly kind: "pairs"; readonly count: number; readonly restMs?: number }
  /** ADD of each of these Pods, one after the other, and at the end DEL of all. An ADD may fail. */
  | { readonly kind: "these"; readonly pods: readonly Sandbox["pod"][] }
  /** ADDs of new Pods, all at once; the Pods stay. */
  | { readonly kind: "add"; readonly count: number }
  /** DELs of Pods, all at once. */
  | { readonly kind: "del"; readonly sandboxes: readonly Sandbox[] }
  /** What a runtime does after its node started again: DEL of the old sandbox of each Pod, then ADD of a new one, all at once. */
  | { readonly kind: "restart"; readonly sandboxes: readonly Sandbox[] }
  /** ADDs of one namespace all at once, and one of another namespace just after them. */
  | { readonly kind: "fairness"; readonly count: number }
  /** ADD and DEL of `count` Pods, `width` of them at any time. */
  | { readonly kind: "sustained"; readonly count: number; readonly width: number };

export interface Plan {
  readonly nodeName: string;
  readonly apiUrl: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Pods to add and remove before anything is measured. */
  readonly warmUp: number;
  readonly task: Task;
}

/** One call, from the start of its process to its end. */
export interface Timed {
  readonly ms: number;
  readonly error?: string;
}

/** CPU time in milliseconds: of the agent, of the shims, of vswitchd with its database. */
export interface Cpu {
  readonly agentMs: number;
  readonly shimsMs: number;
  readonly switchMs: number;
}

export interface Outcome {
  readonly adds: readonly Timed[];
  readonly dels: readonly Timed[];
  /** The time from the first call to the last answer. */
  readonly totalMs: number;
  /** Begin and end on CLOCK_MONOTONIC, for those who sample meanwhile. */
  readonly startMs: number;
  readonly endMs: number;
  readonly cpu: Cpu;
  /** Largest resident set of the agent meanwhile. */
  readonly peakRssMb: number;
  /** Processes started on the machine for each call. */
  readonly forksPerCall: number;
  /** The sandboxes that exist afterwards. */
  readonly sandboxes: readonly Sandbox[];
  /** The addresses of `sandboxes`. */
  readonly ips: readonly string[];
}

/** What is done on the node without any product, for comparison. */
export type FloorTask =
  /** ADD and DEL of one Pod after the other, with a rest of so long before each ADD. */
  | {
      readonly kind: "turns";
      readonly network: "ovs" | "macvlan";
      readonly count: number;
      readonly restMs: number;
    }
  /** ADDs of Pods with Open vSwitch at once, then DELs of all. */
  | { readonly kind: "burst"; readonly count: number };

export interface FloorPlan extends Pick<Plan, "nodeName" | "apiUrl"> {
  readonly task: FloorTask;
}

/** Times in milliseconds. */
export interface FloorTurns {
  /** Of row and links. */
  readonly order: string;
  readonly adds: readonly number[];
  readonly dels: readonly number[];
  /** Of each ADD: a process that does nothing, started and ended; and after that, when each of the parts was done. */
  readonly parts: readonly Readonly<Record<string, number>>[];
}

export interface FloorBurst {
  /** Rows and links of all Pods in one round; else as they come. */
  readonly together: boolean;
  readonly adds: FloorCalls;
  readonly dels: FloorCalls;
}

/** Many calls at once: their time, and CPU time in milliseconds. */
export interface FloorCalls extends Pick<Outcome, "startMs" | "endMs" | "totalMs"> {
  /** vswitchd with its database. */
  readonly switchMs: number;
  readonly processesMs: number;
  /** Of the loop that did it all, with the kernel's part: links, addresses, requests. */
  readonly loopMs: number;
}

export interface FloorOutcome {
  readonly turns: readonly FloorTurns[];
  readonly bursts: readonly FloorBurst[];
}
