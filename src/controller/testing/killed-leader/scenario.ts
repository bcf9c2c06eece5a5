import type { ControllerProgramOptions } from "../../options.ts";
import type { TestCluster } from "../cluster.ts";

/** A piece of work of the leader, and how it is seen that the work is done. */
export interface Scenario {
  /** Name of the controller or loop that does it. */
  readonly reconcile: string;
  /** What it does, to be read after the name. */
  readonly does: string;
  readonly options?: Partial<ControllerProgramOptions>;
  /** The installation's `conf.yml`. */
  readonly conf?: string;
  /** Makes the cluster in which the leader starts. */
  readonly setUp?: (cluster: TestCluster) => void;
  /** Gives the leader the work. */
  readonly trigger: (cluster: TestCluster) => void;
  /** What other parties do while the leader works. Called several times. */
  readonly others?: (cluster: TestCluster) => void;
  /** How long the work takes. */
  readonly takesMs: number;
  /** Whether the work is done, where some of it does not follow the clock, such as the making of keys. */
  readonly isDone?: (cluster: TestCluster) => boolean;
  /** What the leader leaves behind: the same whoever did the work. */
  readonly result: (cluster: TestCluster) => unknown;
  /** The work is to put back what `trigger` destroyed: the result is the state before. */
  readonly restores?: true;
}

/** The address that {@link claimOfPod} has claimed. */
export const claimed = "172.18.30.131";
/** The Pod that has it. */
export const holder = { namespace: "default", name: `pod-${claimed}` };

/** Creates a pool, a node, a Pod, and the claim of its address, whose spec is changed so; what is undefined there is absent. */
export function claimOfPod(cluster: TestCluster, changes: object = {}): void {
  const pool = cluster.pool("p");
  cluster.node("n1");
  const { uid } = cluster.pod(holder.name).metadata;
  cluster.claim(claimed, pool, "n1", { podUID: uid, ...changes });
}
