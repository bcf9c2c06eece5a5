import type { Rights, Webhooks } from "./api/index.ts";

/** Messages between launcher and supervisor, over Node's IPC channel between parent and child. */

/** A program of the product, as the lab starts it; KUBECONFIG and, on a node, NODE_NAME are added to its environment. */
export interface ProductProgram {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The parts of a lab. */
export interface LabSpec {
  readonly nodes: number;
  /** @default true */
  readonly openVswitch?: boolean;
  /** Moves each node's address from eth0 to a bridge br1 at the start. @default false */
  readonly bridges?: boolean;
  /** Texts of CustomResourceDefinitions that exist before anything else starts. */
  readonly crds?: readonly string[];
  /** Objects that exist before the product starts, each with its resource (`"v1/configmaps"`). */
  readonly objects?: readonly { readonly resource: string; readonly object: object }[];
  /** Runs on each node. */
  readonly agent?: ProductProgram;
  /** Runs beside the API server. */
  readonly controller?: ProductProgram;
  /** Admission webhooks of the product's kinds. */
  readonly webhooks?: Webhooks;
  /** The rights of the product's programs, by their user agents. @default everything */
  readonly rights?: Rights;
  /** Gets a file per program. @default a folder inside the lab that vanishes with it */
  readonly logDirectory?: string;
}

/**
 * Commands of a running lab. `node` is a node's name; a program is `agent`, `kubelet` or `controller` (of a real
 * cluster also containerd, kube-proxy, and the control plane's).
 */
export interface LabCommands {
  /** Runs a command on a node, or beside the API server if `node` is absent; answers its standard output. */
  run(request: { readonly node?: string; readonly argv: readonly string[]; readonly input?: string }): Promise<string>;
  /** Cuts a node's power. */
  powerOff(request: { readonly node: string }): Promise<void>;
  /** Switches it on again: its disk is as it was. */
  powerOn(request: { readonly node: string }): Promise<void>;
  /** Creates br1 as an administrator would; answers the commands. */
  createBridges(request: { readonly node: string }): Promise<readonly string[]>;
  /** Sends a signal to a program. It is started again when it ends, as a DaemonSet's would be. */
  kill(request: { readonly node?: string; readonly program: string; readonly signal: NodeJS.Signals }): Promise<void>;
  /** Ends a program for good, or starts it again. */
  hold(request: { readonly node?: string; readonly program: string; readonly held: boolean }): Promise<void>;
}

/** The name of a command, as it goes over the wire. */
export type CommandName = keyof LabCommands;

/** Messages from the launcher to the supervisor. */
export type ToSupervisor<Spec = LabSpec> =
  | {
      readonly kind: "start";
      readonly spec: Spec;
      /** Of the API server, on the host's loopback. */
      readonly url: string;
      /** Path of the kubeconfig. */
      readonly kubeconfig: string;
    }
  | { readonly kind: "command"; readonly id: number; readonly name: CommandName; readonly request: unknown };

/** Messages from the supervisor to the launcher. */
export type FromSupervisor =
  | { readonly kind: "phase"; readonly phase: string; readonly atMs: number }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "answer"; readonly id: number; readonly result?: unknown; readonly error?: string };

/** In the supervisor's arguments; people and tools find a running lab by it. */
export const marker = "spiderpool-lab";
/** The descriptor at which the supervisor inherits the API's socket on the host's loopback. */
export const apiDescriptor = 4;
/** Where, in the lab's own /run, each node's first process ID is kept, for `nsenter`. */
export const nodePidDirectory = "/run/lab/nodes";
