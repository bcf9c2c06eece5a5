import { type Clock, type Logger, systemClock, Tasks } from "#base";
import type { LabClient } from "../api/index.ts";
import { type Node, type Pod, Worker } from "../controllers/index.ts";
import { prepareContainers } from "./containers.ts";
import { allocatablePatch, registerNode, renewLease, reportReady } from "./node-object.ts";
import { type PodHost, PodRunner } from "./pod-runner.ts";
import { CniRuntime } from "./runtime.ts";
import { Sandboxes } from "./sandboxes.ts";
import { serveContainers } from "./server.ts";

/** What a kubelet of the lab needs: the API, its node, and the address to serve on. */
interface KubeletOptions {
  readonly client: LabClient;
  readonly nodeName: string;
  /** The address on which logs and exec are served, at port 10250. */
  readonly managementIp: string;
  readonly log: Logger;
  /** @default the system's clock */
  readonly clock?: Clock;
}

/** A node's kubelet while it runs. */
interface Kubelet extends AsyncDisposable {
  /** Stops the kubelet. Containers die with the process; their networks stay on record. */
  stop(): Promise<void>;
}

/** The port of logs and exec, as of a real kubelet. */
const kubeletPort = 10_250;
const heartbeatMs = 1_000;

/** Starts the node's stand-in for kubelet and containerd, inside the node's namespaces. Resolves when the Node is registered. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { client, nodeName, managementIp, log, clock = systemClock } = options;
  const tasks = new Tasks(log);
  const runtime = new CniRuntime();
  const sandboxes = new Sandboxes(runtime);
  const runners = new Map<string, PodRunner>();
  const reporter = new Worker({
    name: "pod status",
    tasks,
    clock,
    reconcile: async (uid) => await runners.get(uid)?.writeStatus(),
  });
  const host: PodHost = {
    client,
    clock,
    log,
    sandboxes,
    nodeName,
    nodeIp: managementIp,
    reportLater: (uid) => reporter.add(uid),
  };
  await prepareContainers();
  await registerNode(client, { name: nodeName, managementIp, port: kubeletPort });
  const server = await serveContainers(managementIp, kubeletPort, (namespace, name) =>
    [...runners.values()].find(({ pod: { metadata } }) => metadata.namespace === namespace && metadata.name === name),
  );
  const node = watchNode(client, nodeName, tasks);
  tasks.spawn("heartbeat", async (signal) => {
    for (;;) {
      const problem = await runtime.notReady();
      try {
        await renewLease(client, nodeName, clock);
        if (node.current !== undefined) await reportReady(client, node.current, problem, clock);
      } catch (err) {
        log.warn({ err }, "the node's state could not be reported");
      }
      await clock.sleep(heartbeatMs, { signal });
    }
  });
  const pods = runPods(host, runners, tasks);
  tasks.spawn("lost sandboxes", async () => {
    await pods.synced;
    // Pods that were deleted while the node was off.
    for (const sandbox of await sandboxes.recorded())
      if (!runners.has(sandbox.pod.uid)) await sandboxes.remove(sandbox);
  });
  await node.synced;

  const stop = async () => {
    await server.close();
    await tasks.stop();
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

/** Follows the Node object, and copies resources that device plugins or agents add to its capacity to `allocatable`. */
function watchNode(
  client: LabClient,
  name: string,
  tasks: Tasks,
): { current: Node | undefined; synced: Promise<void> } {
  const watch = client.watch<Node>(
    "v1/nodes",
    { signal: tasks.signal, fieldSelector: `metadata.name=${name}` },
    async ({ type, object }) => {
      found.current = type === "DELETED" ? undefined : object;
      const allocatable = found.current && allocatablePatch(found.current);
      if (allocatable === undefined) return;
      await client.patch("v1/nodes", { name }, { status: { allocatable } }, { subresource: "status" });
    },
  );
  const found: { current: Node | undefined; synced: Promise<void> } = { current: undefined, synced: watch.synced };
  tasks.spawn("watch node", () => watch.done);
  return found;
}

/** Runs every Pod that is bound to the node, with an entry in `runners` by UID as long as it runs. */
function runPods(host: PodHost, runners: Map<string, PodRunner>, tasks: Tasks): { readonly synced: Promise<void> } {
  const { client, nodeName } = host;
  const start = (pod: Pod): PodRunner => {
    const runner = new PodRunner(host, pod);
    runners.set(pod.metadata.uid, runner);
    tasks.spawn(`pod ${pod.metadata.name}`, async (signal) => {
      await runner.run(signal);
      runners.delete(pod.metadata.uid);
    });
    return runner;
  };
  const watch = client.watch<Pod>(
    "v1/pods",
    { signal: tasks.signal, fieldSelector: `spec.nodeName=${nodeName}` },
    ({ type, object }) => {
      const known = runners.get(object.metadata.uid);
      if (type === "DELETED") known?.stop();
      else (known ?? start(object)).update(object);
    },
  );
  tasks.spawn("watch pods", () => watch.done);
  return watch;
}
