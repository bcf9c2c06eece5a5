import { join } from "node:path";
import {
  abortable,
  type Logger,
  metricsContentType,
  productVersion,
  type RecentLines,
  type Signal,
  SpiderError,
  systemClock,
  Tasks,
} from "#base";
import { createTransport, loadKubeConfig } from "#kube";
import { lockFile, releaseCode, tryLockFile } from "#linux";
import { build, type Serving } from "./build/build.ts";
import { Flights } from "./calls/flights.ts";
import { Gate } from "./calls/gate.ts";
import { CniServer } from "./calls/server.ts";
import { watchCluster } from "./cluster/cluster.ts";
import { elsewhere, probesElsewhere, serveApi, serveProbes, serveText } from "./http/api.ts";
import { ipamRoutes, selectFlights } from "./http/ipam-api.ts";
import { CallMetrics } from "./http/metrics.ts";
import { examineNode, showNetworks } from "./node/doctor.ts";
import { OvsClients } from "./node/ovs-clients.ts";
import { giveBack } from "./node/uninstall.ts";
import type { AgentOptions } from "./options.ts";

const flightsMax = 1_000;
/** How long the views of Pods that were just added may delay the end. */
const viewsMsMax = 5_000;
/** How long DEL and GC wait until the cluster is read. If the API server is away, they use only the node's records. */
const endingsWaitMs = 10_000;
const clock = systemClock;

/** How far this agent has come, for those who ask it. */
interface State {
  readonly gate: Gate;
  /** Set when the parts of the agent exist. */
  serving: Serving | undefined;
  /** Set while the agent answers the runtime's calls. */
  isReady: boolean;
}

/** What a process gives its agent: when to end, and the newest lines of its log, for those who ask. */
interface AgentEnvironment extends Signal {
  readonly recent?: RecentLines;
}

/**
 * Serves the node until `signal` aborts, then answers running calls and ends. Only one agent serves at a time: the one that holds
 * the lock in the run directory. A later agent takes over the socket, and keeps calls until the earlier one has answered its own.
 */
export async function runAgent(
  options: AgentOptions,
  log: Logger,
  { signal, recent }: AgentEnvironment,
): Promise<void> {
  const tasks = new Tasks(log);
  for (const variable of options.withoutEffect) log.warn({ variable }, "a variable that is set has no effect any more");
  using transport = createTransport(loadKubeConfig({ kubeconfig: options.kubeconfig }), { clock });
  await using ovsClients = new OvsClients(options.ovsdb, log);
  const cluster = watchCluster(options, log, tasks, transport);
  const flights = new Flights({ max: flightsMax });
  const metrics = new CallMetrics();
  const gate = new Gate();
  const state: State = { gate, serving: undefined, isReady: false };
  await using _servers = await serveQuestions(options, state, { flights, metrics, recent });
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
    state.serving = build({ options, log, clock, tasks, cluster, ovsClients, flights, metrics });
    const { handle, files } = state.serving;
    tasks.spawn("endings", async (stop) => {
      await clock.sleep(endingsWaitMs, { signal: stop });
      gate.openForEndings(handle);
    });
    await cluster.ready({ signal: over });
    gate.open(handle);
    // Last, because the runtime calls as soon as it finds our configuration.
    files.install();
    tasks.spawn("node files", (stop) => files.keep({ signal: stop }));
    state.isReady = true;
    log.info({ node, version: productVersion }, "serving");
    releaseCode();
    await abortable(new Promise<never>(() => {}), over);
  } catch (error) {
    if (!over.aborted) throw error;
  } finally {
    state.isReady = false;
    log.info({ node, superseded: server.superseded.aborted }, "stopping");
    gate.close();
    await server[Symbol.asyncDispose]();
    await state.serving?.views.idle({ signal: AbortSignal.timeout(viewsMsMax) });
    await tasks.stop();
    if (state.serving !== undefined && cluster.release?.isGoing) giveBack(options.stateDir, log);
    owner?.[Symbol.dispose]();
  }
  // A newer agent runs beside us until our Pod is deleted. If this process ended now, its restart would take the calls back.
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

/** What an agent tells of itself. */
interface Told {
  readonly flights: Flights;
  readonly metrics: CallMetrics;
  readonly recent: RecentLines | undefined;
}

/**
 * Starts the agent's API, and metrics and probes if they are on. The API serves before the agent is ready: until then it answers
 * NOT_SERVING, with what the agent waits for.
 */
async function serveQuestions(
  options: AgentOptions,
  state: State,
  { flights, metrics, recent }: Told,
): Promise<AsyncDisposable> {
  const refuse = () =>
    new SpiderError("NOT_SERVING", `spiderpool-agent is starting: it waits for ${state.gate.waitsFor}`);
  const built = () => {
    if (state.serving === undefined) throw refuse();
    return state.serving;
  };
  const api = () => {
    const { api: ready } = built();
    if (!state.isReady) throw refuse();
    return ready;
  };
  await using servers = new AsyncDisposableStack();
  const ipam = ipamRoutes(api);
  servers.use(
    await serveApi(options.apiSocket, {
      ...ipam,
      ...probesElsewhere,
      "GET /v1/status": () => ({ node: options.node, version: productVersion }),
      "GET /v1/log": () => recent?.list() ?? [],
      "GET /v1/metrics": () => metrics.text(),
      "GET /v1/flights": ({ query }) => selectFlights(flights.list(), query),
      "GET /v1/doctor": (request) => examineNode(built().doctor, request),
      "GET /v1/faults": () => built().faults.look(),
      "POST /v1/faults": (request) => built().faults.reconcile(request),
      "GET /v1/net": (request) => showNetworks(built().doctor, request.query.get("pod") ?? "", request),
    }),
  );
  const { metricPort, metricAddress, healthPort } = options;
  if (metricPort !== undefined) {
    const metricsServer = { port: metricPort, host: metricAddress };
    servers.use(await serveText(metricsServer, metricsContentType, () => metrics.text()));
  }
  if (healthPort !== undefined) {
    const onSocket = elsewhere(Object.keys(ipam), "it is served on the agent's socket");
    servers.use(await serveProbes(healthPort, () => state.isReady, onSocket));
  }
  return servers.move();
}
