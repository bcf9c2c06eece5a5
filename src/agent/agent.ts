import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  decodeSettings,
  networkAttachmentDefinitions,
  type Settings,
  spiderCoordinators,
  spiderEndpoints,
  spiderIPPools,
  spiderReservedIPs,
} from "#api";
import { abortable, type Logger, metricsContentType, type Signal, SpiderError, systemClock, Tasks } from "#base";
import { ownCode } from "#cni";
import {
  createTransport,
  daemonSets,
  EventRecorder,
  KubeClient,
  type KubeObject,
  keyOf,
  loadKubeConfig,
  metadataOf,
  namespaces,
  nodes,
  pods,
  type Resource,
  type Selection,
  TopControllers,
  type Transport,
  WatchedStore,
} from "#kube";
import { Intents, Ledger, reservedSets } from "#ledger";
import { bootId, hostNetns, lockFile, tryLockFile } from "#linux";
import { createOvs, type Ovs } from "#ovsdb";
import {
  createCoordinatorPlugin,
  createIfacerPlugin,
  createIpvlanPlugin,
  createMacvlanPlugin,
  createMirrorPlugin,
  createOvsPlugin,
  createPassthruPlugin,
  createVlanPlugin,
  type Plugin,
} from "#plugins";
import { After } from "./after.ts";
import { serveApi, serveProbes, serveText } from "./api.ts";
import { runBridgeResources } from "./bridges.ts";
import { Calls } from "./calls.ts";
import { Chain } from "./chain.ts";
import { ClaimsReconciler } from "./claims.ts";
import { clusterConfigOf } from "./cluster-config.ts";
import { crashPoints } from "./crash-points.ts";
import { cutOff } from "./cut.ts";
import { readDevices } from "./devices.ts";
import { type DoctorOptions, examineNode, observed, runDoctor, showNetworks } from "./doctor.ts";
import { Endpoints } from "./endpoints.ts";
import { Flights } from "./flights.ts";
import { ForeignPlugins } from "./foreign.ts";
import { Gate } from "./gate.ts";
import { HostState } from "./host-state.ts";
import { NodeFiles } from "./install/node.ts";
import { createIpam } from "./ipam.ts";
import { type IpamApiOptions, ipamRoutes, selectFlights } from "./ipam-api.ts";
import { LedgerEpoch } from "./ledger-epoch.ts";
import { runLeftovers } from "./leftovers.ts";
import { CallMetrics } from "./metrics.ts";
import { createConfigSource } from "./nads.ts";
import { tuneNodeSysctls } from "./node-sysctls.ts";
import type { AgentOptions } from "./options.ts";
import { findPod } from "./pods.ts";
import { PoolCache } from "./pool-cache.ts";
import { Records } from "./records.ts";
import { Release } from "./release.ts";
import { Returned } from "./returned.ts";
import { type CallHandler, CniServer } from "./server.ts";
import { stickyOwnerOf } from "./sticky.ts";
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
    "GET /v1/net": (request) => showNetworks(building().doctor, request.query.get("pod") ?? "", request),
  });
  await using _metrics =
    options.metricPort === undefined
      ? undefined
      : await serveText(options.metricPort, metricsContentType, () => metrics.text());
  let isReady = false;
  await using _probes = await probes(options.healthPort, () => isReady);
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
    serving = build(options, log, tasks, cluster, ovsClients, { flights, metrics });
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
    log.info({ node }, "serving");
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

function nodeFiles(options: AgentOptions, log: Logger, events: EventRecorder): NodeFiles {
  const { node, namespace, stateDir, cniBinDir, cniConfDir, shim, cniPlugins, cniSocket, clusterNetwork } = options;
  const executables =
    cniBinDir === undefined || shim === undefined
      ? undefined
      : { binDir: cniBinDir, shim, socket: cniSocket, names: cniPlugins };
  const network = cniConfDir === undefined ? undefined : { confDir: cniConfDir, clusterNetwork, namespace };
  // Kubelet's own Events about a node have its name as UID, too: `kubectl describe node` looks for that.
  const subject = { apiVersion: "v1", kind: "Node", name: node, uid: node };
  const tell = (reason: string, message: string) => {
    log.warn({ node, reason }, message);
    events.record(subject, { type: "Warning", reason, message });
  };
  return new NodeFiles({ executables, network, stateDir, clock, log, tell });
}

async function probes(port: number | undefined, isServing: () => boolean): Promise<AsyncDisposable | undefined> {
  if (port === undefined) return undefined;
  const serving = () => {
    if (!isServing()) throw new Error("the objects of the cluster are not read yet");
  };
  const routes = {
    "GET /runtime/startup": serving,
    "GET /runtime/readiness": serving,
    "GET /runtime/liveness": () => undefined,
  };
  return serveProbes(port, routes);
}

function readSettings(configPath: string | undefined, log: Logger): Settings {
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting is not known");
  return settings;
}

/** The cluster as this node sees it: stores that watches fill. Acts on nothing. */
function watchCluster(options: AgentOptions, log: Logger, tasks: Tasks, transport: Transport) {
  const { node, namespace, daemonSet } = options;
  const client = new KubeClient({ transport, clock, userAgent: "spiderpool-agent" });
  const watch = <T extends KubeObject>(resource: Resource<T>, selection: Selection = {}): WatchedStore<T> => {
    const store = new WatchedStore<T>({ client, clock, log, resource, ...selection });
    tasks.spawn(`watch ${resource.plural}`, (signal) => store.run({ signal }));
    return store;
  };
  const podStore = watch(pods, { fieldSelector: `spec.nodeName=${node}` });
  const nodeStore = watch(nodes, { fieldSelector: `metadata.name=${node}` });
  const namespaceStore = watch(metadataOf(namespaces));
  const nadStore = watch(networkAttachmentDefinitions);
  const coordinatorStore = watch(spiderCoordinators);
  const reservedStore = watch(spiderReservedIPs);
  const poolMetadata = watch(metadataOf(spiderIPPools));
  const stores = [podStore, nodeStore, namespaceStore, nadStore, reservedStore, poolMetadata, coordinatorStore];

  const pools = new PoolCache({ client, clock, log, metadata: poolMetadata });
  pools.start({ signal: tasks.signal });
  const ready = async (o: Signal) => {
    await Promise.all(stores.map((store) => store.synced(o)));
    await pools.now(o);
  };
  const release =
    daemonSet === undefined
      ? undefined
      : new Release(watch(daemonSets, { namespace, fieldSelector: `metadata.name=${daemonSet}` }), {
          namespace,
          name: daemonSet,
        });
  return {
    client,
    podStore,
    nodeStore,
    namespaceStore,
    nadStore,
    coordinatorStore,
    reservedStore,
    poolMetadata,
    pools,
    ready,
    release,
  };
}

type Cluster = ReturnType<typeof watchCluster>;
type Serving = ReturnType<typeof build>;

/** Everything that acts on the node; there may be only one of it. */
function build(
  options: AgentOptions,
  log: Logger,
  tasks: Tasks,
  cluster: Cluster,
  ovsClients: OvsClients,
  { flights, metrics }: { readonly flights: Flights; readonly metrics: CallMetrics },
) {
  const settings = readSettings(options.configPath, log);
  const { node, namespace, clusterNetwork, stateDir } = options;
  const { client, podStore, nodeStore, namespaceStore, nadStore, coordinatorStore, reservedStore, pools } = cluster;
  const families = [...(settings.enableIPv4 ? ([4] as const) : []), ...(settings.enableIPv6 ? ([6] as const) : [])];
  const host = hostNetns();
  if (settings.tuneSysctlConfig) tuneNodeSysctls({ host, stateDir, families, log });
  const records = new Records(join(stateDir, "sandboxes"));
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-agent", host: node });
  const owners = new TopControllers(client);
  const intents = new Intents(join(options.runDir, "intent"));
  const ledger = new Ledger({
    client,
    clock,
    log,
    node,
    bootId: bootId(),
    intents,
    reserved: reservedSets(reservedStore, log),
    inUse: (claim) => claims.inUse(claim),
    open: (o) => epoch.open(o),
    isIndexed: (claim, o) => endpoints.names(claim, o),
    signal: tasks.signal,
  });
  const returned = new Returned({
    ledger,
    records,
    pools,
    pods: podStore,
    events,
    settings,
    exclusive: (containerId, act, o) => calls.exclusive(containerId, act, o),
    cut: (record) => cutOff(record, host),
    log,
  });
  const claims: ClaimsReconciler = new ClaimsReconciler({
    ledger,
    intents,
    records,
    pods: podStore,
    returned,
    clock,
    log,
  });
  const epoch: LedgerEpoch = new LedgerEpoch({
    ...{ client, clock, log, node, pools: cluster.poolMetadata },
    recalled: (o) => ledger.recalled(o),
    check: async (o) => {
      for (const record of records.list()) await returned.check(record, o);
    },
  });
  const endpoints: Endpoints = new Endpoints({ client, clock, ledger, owners, node, settings });
  const ipamFor = createIpam({
    ledger,
    pools,
    pods: podStore,
    // The ADD has waited for the watch already.
    findPod: (ref, o) => findPod({ store: podStore, client }, ref, { ...o, lagMs: 0 }),
    namespaces: namespaceStore,
    nodes: nodeStore,
    owners,
    endpoints,
    clock,
    hasSandbox: (podUid, except) => claims.hasSandbox(podUid, except),
    node,
    namespace,
    clusterNetwork,
    families,
    settings,
  });
  const detection = { conflicts: settings.enableIPConflictDetection, gateways: settings.enableGatewayDetection };
  const ovsFor = (endpoint: string | undefined) => ovsClients.get(endpoint);
  const plugins = [
    createMirrorPlugin("producer", { ovsFor }),
    createMirrorPlugin("consumer", { ovsFor }),
    createOvsPlugin({ host, ovsFor, ipamFor, tasks, detection }),
    createIfacerPlugin({ host, log }),
    createMacvlanPlugin({ host, ipamFor, tasks, detection }),
    createIpvlanPlugin({ host, ipamFor, tasks, detection, attached: () => records.plugins() }),
    createVlanPlugin({ host, ipamFor, tasks, detection }),
    createCoordinatorPlugin({
      host,
      tasks,
      clusterConfig: (attachment) => clusterConfigOf(coordinatorStore, podStore, attachment),
    }),
  ];
  const chain = new Chain([...plugins, createPassthruPlugin()] as readonly Plugin<unknown>[], new ForeignPlugins());
  const idle = () => calls.idle();
  const after = new After({ client, clock, log, tasks, events, endpoints, pods: podStore, idle });
  const calls: Calls = new Calls({
    chain,
    records,
    flights,
    ipamFor,
    detection,
    source: createConfigSource(nadStore),
    devicesOf: readDevices,
    knownPod: (ref) => podStore.get(keyOf(ref)),
    clock,
    log,
    findPod: ({ pod }, o) => {
      if (pod === undefined)
        throw new SpiderError("POD_UNKNOWN", "CNI_ARGS name no Pod (K8S_POD_NAMESPACE, K8S_POD_NAME)");
      return findPod({ store: podStore, client }, pod, o);
    },
    added: (attached, pod) => after.added(attached, pod),
    failed: (attachment, error) => after.failed(attachment, error),
    ended: (flight, failure) => metrics.ended(flight, failure === undefined ? undefined : ownCode(failure)),
    failPoint: options.crashPoints ? crashPoints(options.runDir) : undefined,
    removed: ({ pod }) => {
      if (pod !== undefined) claims.poke(keyOf(pod));
    },
  });
  tasks.spawn("events", (signal) => events.run({ signal }));
  tasks.spawn("claims", (signal) => claims.run({ signal }));
  const hasLink = (name: string) => host.rtnl.link(name) !== undefined;
  tasks.spawn("left-over ports", (signal) => runLeftovers({ ovs: ovsClients.get(), hasLink, clock, log }, { signal }));
  const hostState = new HostState({
    records,
    chain,
    host,
    ovs: ovsClients.get(),
    exclusive: (containerId, act, o) => calls.exclusive(containerId, act, o),
    synced: (o) => Promise.all([podStore.synced(o), coordinatorStore.synced(o)]).then(() => {}),
    clock,
    log,
  });
  tasks.spawn("host state", (signal) => hostState.run({ signal }));
  tasks.spawn("ledger epoch", (signal) => epoch.run({ signal }));
  tasks.spawn("recall", (signal) => claims.recallAndAudit({ signal }));
  tasks.spawn("bridges", (signal) =>
    runBridgeResources({ client, clock, log, ovs: ovsClients.get(undefined), nodes: nodeStore, node }, { signal }),
  );
  const doctor: DoctorOptions = {
    observe: observed(options, { host, ovs: ovsClients.get() }),
    records: () => records.list(),
    claims: () => ledger.claims(),
    nads: () => nadStore.list(),
    coordinator: () => coordinatorStore.list()[0]?.spec,
    clock,
  };
  tasks.spawn("doctor", (signal) => runDoctor({ ...doctor, events, log }, { signal }));
  const handle: CallHandler = (call, context) => calls.handle(call, context);
  metrics.watch({
    calls: () => calls.depth,
    sandboxes: () => records.list().length,
    claims: () => ledger.claims().length,
  });
  const api: IpamApiOptions = {
    perform: (request, o) => calls.perform(request, o),
    claimsOf: ({ namespace: of, name, uid }) =>
      ledger.claimsOf(uid || (podStore.get(`${of}/${name}`)?.metadata.uid ?? "")),
    release: (claim, why) => ledger.release(claim, { why, evidence: [] }),
    podOf: (of, name) => podStore.get(`${of}/${name}`),
    endpointOf: (of, name, o) => {
      const pod = podStore.get(`${of}/${name}`);
      const sticky = pod && stickyOwnerOf(pod, settings);
      return client.get(spiderEndpoints, { namespace: of, name: sticky?.endpoint ?? name }, o);
    },
    isSticky: (pod) => stickyOwnerOf(pod, settings) !== undefined,
    coordinatorConfig: ({ namespace: of, name }) => {
      const pod = { namespace: of, name, uid: "" };
      const attachment = { containerId: "", ifName: "", netns: "", pod, args: new Map<string, string>() };
      return clusterConfigOf(coordinatorStore, podStore, attachment);
    },
    settings,
    mayGiveBack: options.releaseConflictIps,
    log,
  };
  return { handle, api, doctor, views: after, files: nodeFiles(options, log, events) };
}

/** One connection for each database that a configuration names; in practice there is one. */
class OvsClients implements AsyncDisposable {
  readonly #usual: string;
  readonly #log: Logger;
  readonly #clients = new Map<string, Ovs & AsyncDisposable>();

  constructor(usual: string, log: Logger) {
    this.#usual = usual;
    this.#log = log;
  }

  get(endpoint: string = this.#usual): Ovs {
    const found = this.#clients.get(endpoint) ?? createOvs({ endpoint, clock, log: this.#log });
    this.#clients.set(endpoint, found);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ovs of this.#clients.values()) await ovs[Symbol.asyncDispose]();
  }
}
