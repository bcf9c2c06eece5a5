import { type Clock, type Logger, systemClock, Tasks } from "#base";
import { type LabClient, type ObjectMeta, textAt, type WatchEventType } from "../api/index.ts";
import { reconcileDaemonSet } from "./daemon-set.ts";
import { reconcileDeployment } from "./deployment.ts";
import { reconcileJob } from "./job.ts";
import { keyOf } from "./kinds.ts";
import { judgeNodes } from "./node-lifecycle.ts";
import { reconcileReplicaSet } from "./replica-set.ts";
import { scheduleAll } from "./scheduler.ts";
import { reconcileStatefulSet } from "./stateful-set.ts";
import { Worker } from "./worker.ts";

interface ControllersOptions {
  readonly client: LabClient;
  readonly log: Logger;
  /** @default the system's clock */
  readonly clock?: Clock;
}

/** The control plane while it runs. */
export interface Controllers extends AsyncDisposable {
  /** Ends all controllers and waits for them. */
  stop(): Promise<void>;
}

/** How often leases are checked. */
const judgeEveryMs = 1_000;

/** Starts the scheduler, the controllers of workloads and the watch over nodes; resolves when all have their first lists. */
export async function startControllers({ client, log, clock = systemClock }: ControllersOptions): Promise<Controllers> {
  const tasks = new Tasks(log);
  const worker = (name: string, reconcile: (key: string) => Promise<void>) =>
    new Worker({ name, tasks, clock, reconcile });
  const scheduler = worker("scheduler", () => scheduleAll(client));
  const sets = worker("replica sets", (key) => reconcileReplicaSet(client, ...splitKey(key)));
  const stateful = worker("stateful sets", (key) => reconcileStatefulSet(client, ...splitKey(key)));
  const daemons = worker("daemon sets", (key) => reconcileDaemonSet(client, ...splitKey(key)));
  const jobs = worker("jobs", (key) => reconcileJob(client, ...splitKey(key)));
  const deployments = worker("deployments", (key) => reconcileDeployment(client, ...splitKey(key)));

  const watch = (resource: string, onChange: (object: Watched, type: WatchEventType) => void): Promise<void> => {
    const { synced, done } = client.watch<Watched>(resource, { signal: tasks.signal }, ({ object, type }) =>
      onChange(object, type),
    );
    tasks.spawn(`watch ${resource}`, () => done);
    return synced;
  };
  const toOwner = (object: Watched, kind: string, owners: Worker) => {
    const owner = object.metadata.ownerReferences?.find((one) => one.controller === true && one.kind === kind);
    if (owner !== undefined) owners.add(`${object.metadata.namespace ?? ""}/${owner.name}`);
  };
  const daemonSets = new Set<string>();
  const synced = [
    watch("v1/nodes", (_node, type) => {
      scheduler.add("all");
      if (type !== "MODIFIED") for (const key of daemonSets) daemons.add(key);
    }),
    watch("v1/pods", (pod, type) => {
      // A running Pod that reports its state frees nothing and waits for nothing.
      const settled = type === "MODIFIED" && textAt(pod, "spec", "nodeName") !== "" && isLive(pod);
      if (!settled) scheduler.add("all");
      toOwner(pod, "ReplicaSet", sets);
      toOwner(pod, "StatefulSet", stateful);
      toOwner(pod, "DaemonSet", daemons);
      toOwner(pod, "Job", jobs);
    }),
    watch("apps/v1/replicasets", (set) => {
      sets.add(keyOf(set));
      toOwner(set, "Deployment", deployments);
    }),
    watch("apps/v1/statefulsets", (set) => stateful.add(keyOf(set))),
    watch("apps/v1/daemonsets", (set, type) => {
      if (type === "DELETED") daemonSets.delete(keyOf(set));
      else daemonSets.add(keyOf(set));
      daemons.add(keyOf(set));
    }),
    watch("batch/v1/jobs", (job) => jobs.add(keyOf(job))),
    watch("apps/v1/deployments", (deployment) => deployments.add(keyOf(deployment))),
  ];
  tasks.spawn("node leases", async (signal) => {
    while (!signal.aborted) {
      await clock.sleep(judgeEveryMs, { signal });
      await judgeNodes(client, clock.wall()).catch((err: unknown) => log.warn({ err }, "nodes could not be judged"));
    }
  });
  await Promise.all(synced);
  const stop = () => tasks.stop();
  return { stop, [Symbol.asyncDispose]: stop };
}

interface Watched {
  readonly metadata: ObjectMeta;
}

function isLive(pod: Watched): boolean {
  const phase = textAt(pod, "status", "phase");
  return phase !== "Succeeded" && phase !== "Failed";
}

function splitKey(key: string): [namespace: string, name: string] {
  const [namespace = "", name = ""] = key.split("/");
  return [namespace, name];
}
