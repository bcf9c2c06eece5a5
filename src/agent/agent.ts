import { join } from "node:path";
import {
  abortable,
  type Logger,
  metricsContentType,
  productVersion,
  type Signal,
  SpiderError,
  systemClock,
  Tasks,
} from "#base";
import { createTransport, loadKubeConfig } from "#kube";
import { lockFile, releaseCode, tryLockFile } from "#linux";
import { serveApi, serveProbes, serveText } from "./api.ts";
import { build, type Serving } from "./build/build.ts";
import { watchCluster } from "./cluster.ts";
import { examineNode, showNetworks } from "./doctor.ts";
import { Flights } from "./flights.ts";
import { Gate } from "./gate.ts";
import { ipamRoutes, selectFlights } from "./ipam-api.ts";
import { CallMetrics } from "./metrics.ts";
import type { AgentOptions } from "./options.ts";
import { OvsClients } from "./ovs-clients.ts";
import { CniServer } from "./server.ts";
import { giveBack } from "./uninstall.ts";

const flightsMax = 1_000;
/** How long the views of Pods that were just added may delay the end. */
const viewsMsMax = 5_000;
/** How long DEL and GC wait for the cluster to be read; with an API server that is away they go by the node's records alone. */
const endingsWaitMs = 10_000;
const clock = systemClock;

/**
 * Serves the node until `signal` aborts, then answers what is under way and ends. One agent serves at a time: who holds the
 * lock of the run directory. A later one takes the calls and keeps them until the one before has answered its own.
 */
export async function runAgent(options: AgentOptions, log: Logger, { signal }: Signal): Promise<void> {
  const tasks = new Tasks(log);
  using transport = createTransport(loadKubeConfig({ kubeconfig: options.kubeconfig }), { clock });
  await using ovsClients = new OvsClients(options.ovsdb, log);
  const cluster = watchCluster(options, log, tasks, transport);
  const flights = new Flights({ max: flightsMax });
  const metrics = new CallMetrics();
  const gate = new Gate();
  let serving: Serving | undefined;
  const building = () => {
    if (serving !== undefined) return serving;
    throw new SpiderError("NOT_SERVING", `spiderpool-agent is starting: it waits for ${gate.waitsFor}`);
  };
  const api = () => {
    const { api: ready } = building();
    if (isReady) return ready;
    throw new SpiderError("NOT_SERVING", `spiderpool-agent is starting: it waits for ${gate.waitsFor}`);
  };
  await using _api = await serveApi(options.apiSocket, {
    ...ipamRoutes(api),
    "GET /v1/flights": ({ query }) => selectFlights(flights.list(), query),
    "GET /v1/doctor": (request) => examineNode(building().doctor, request),
    "GET /v1/faults": () => building().faults.look(),
    "POST /v1/faults": (request) => building().faults.reconcile(request),
    "GET /v1/net": (request) => showNetworks(building().doctor, request.query.get("pod") ?? "", request),
  });
  await using _metrics =
    options.metricPort === undefined
      ? undefined
      : await serveText({ port: options.metricPort, host: options.metricAddress }, metricsContentType, () =>
          metrics.text(),
        );
  let isReady = false;
  await using _probes =
    options.healthPort === undefined ? undefined : await serveProbes(options.healthPort, () => isReady);
  const { node } = options;
  const ownerFile = join(options.runDir, "owner");
  let owner = tryLockFile(ownerFile);
  if (owner === undefined) {
    log.info({ node }, "another agent serves this node; it goes on until the cluster is read here");
    await cluster.ready({ signal });
  }
  const server = await CniServer.listen(options.cniSocket, gate.handle, log);
  const over = AbortSignal.any([signal, server.superseded]);
  try {
    owner ??= await lockFile(ownerFile, { clock, signal: over });
    gate.waitsFor = "the first answers of the Kubernetes API server";
    serving = build({ options, log, clock, tasks, cluster, ovsClients, flights, metrics });
    const { handle } = serving;
    tasks.spawn("endings", async (stop) => {
      await clock.sleep(endingsWaitMs, { signal: stop });
      gate.openForEndings(handle);
    });
    await cluster.ready({ signal: over });
    gate.open(handle);
    // The runtime is told of us last: when it calls, there is somebody to answer.
    serving.files.install();
    const { files } = serving;
    tasks.spawn("node files", (stop) => files.keep({ signal: stop }));
    isReady = true;
    log.info({ node, version: productVersion }, "serving");
    releaseCode();
    await abortable(new Promise<never>(() => {}), over);
  } catch (error) {
    if (!over.aborted) throw error;
  } finally {
    isReady = false;
    log.info({ node, superseded: server.superseded.aborted }, "stopping");
    gate.close();
    await server[Symbol.asyncDispose]();
    await serving?.views.idle({ signal: AbortSignal.timeout(viewsMsMax) });
    await tasks.stop();
    if (serving !== undefined && cluster.release?.isGoing) giveBack(options.stateDir, log);
    owner?.[Symbol.dispose]();
  }
  // Whoever superseded us runs beside us until our Pod is told to end; a restart would take the calls back.
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
