import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  decodeSettings,
  networkAttachmentDefinitions,
  type Settings,
  spiderCoordinators,
  spiderIPPools,
  spiderReservedIPs,
} from "#api";
import { type Logger, type Signal, SpiderError, systemClock, Tasks } from "#base";
import {
  createTransport,
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
  type Transport,
  WatchedStore,
} from "#kube";
import { Intents, Ledger } from "#ledger";
import { bootId, hostNetns } from "#linux";
import { createOvs, type Ovs } from "#ovsdb";
import { createCoordinatorPlugin, createOvsPlugin, type Plugin } from "#plugins";
import { After } from "./after.ts";
import { serveApi, serveProbes } from "./api.ts";
import { runBridgeResources } from "./bridges.ts";
import { Calls } from "./calls.ts";
import { Chain } from "./chain.ts";
import { ClaimsReconciler } from "./claims.ts";
import { clusterConfigOf } from "./cluster-config.ts";
import { crashPoints } from "./crash-points.ts";
import { Endpoints } from "./endpoints.ts";
import { Flights } from "./flights.ts";
import { HostState } from "./host-state.ts";
import { NodeFiles } from "./install/node.ts";
import { createIpam } from "./ipam.ts";
import { runLeftovers } from "./leftovers.ts";
import { createConfigSource } from "./nads.ts";
import { tuneNodeSysctls } from "./node-sysctls.ts";
import type { AgentOptions } from "./options.ts";
import { findPod } from "./pods.ts";
import { PoolCache, reservedSets } from "./pool-cache.ts";
import { Records } from "./records.ts";
import { CniServer } from "./server.ts";
import { TopControllers } from "./top-controller.ts";

const flightsMax = 1_000;
const clock = systemClock;

/** Builds the agent, serves until `signal` aborts, then answers what is under way and ends. */
export async function runAgent(options: AgentOptions, log: Logger, { signal }: Signal): Promise<void> {
  const tasks = new Tasks(log);
  using transport = createTransport(loadKubeConfig({ kubeconfig: options.kubeconfig }), { clock });
  await using ovsClients = new OvsClients(options.ovsdb, log);
  const { calls, ready, flights, files } = build(options, log, tasks, transport, ovsClients);
  await using _api = await serveApi(options.apiSocket, {
    "/v1/ipam/healthy": () => undefined,
    "/v1/flights": () => flights.list(),
  });
  let serving = false;
  await using _probes = await probes(options.healthPort, () => serving);
  await using _server = await CniServer.listen(options.cniSocket, (call, context) => calls.handle(call, context), log);
  try {
    await ready({ signal });
    // The runtime is told of us last: when it calls, there is somebody to answer.
    files.install();
    tasks.spawn("node files", (stop) => files.keep({ signal: stop }));
    serving = true;
    log.info({ node: options.node }, "serving");
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  } finally {
    log.info({ node: options.node }, "stopping");
    await tasks.stop();
  }
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
  const routes = { "/runtime/startup": serving, "/runtime/readiness": serving, "/runtime/liveness": () => undefined };
  return serveProbes(port, routes);
}

function readSettings(configPath: string | undefined, log: Logger): Settings {
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting is not known");
  return settings;
}

function build(options: AgentOptions, log: Logger, tasks: Tasks, transport: Transport, ovsClients: OvsClients) {
  const settings = readSettings(options.configPath, log);
  const { node, namespace, clusterNetwork, stateDir } = options;
  const families = [...(settings.enableIPv4 ? ([4] as const) : []), ...(settings.enableIPv6 ? ([6] as const) : [])];
  const host = hostNetns();
  if (settings.tuneSysctlConfig) tuneNodeSysctls({ host, stateDir, families, log });
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
  const records = new Records(join(stateDir, "sandboxes"));
  const flights = new Flights({ max: flightsMax });
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-agent", host: node });
  const owners = new TopControllers(client);
  const ledger = new Ledger({
    client,
    clock,
    log,
    node,
    bootId: bootId(),
    intents: new Intents(join(options.runDir, "intent")),
    reserved: reservedSets(reservedStore, log),
    inUse: (claim) => claims.inUse(claim),
    isIndexed: (claim, o) => endpoints.names(claim, o),
    signal: tasks.signal,
  });
  const claims: ClaimsReconciler = new ClaimsReconciler({ ledger, records, pods: podStore, clock, log });
  const endpoints: Endpoints = new Endpoints({ client, clock, ledger, owners, node, settings });
  const ipamFor = createIpam({
    ledger,
    pools,
    pods: podStore,
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
  const plugins = [
    createOvsPlugin({ host, ovsFor: (endpoint) => ovsClients.get(endpoint), ipamFor, tasks }),
    createCoordinatorPlugin({
      host,
      tasks,
      clusterConfig: (attachment) => clusterConfigOf(coordinatorStore, podStore, attachment),
    }),
  ];
  const chain = new Chain(plugins as readonly Plugin<unknown>[]);
  const idle = () => calls.idle();
  const after = new After({ client, clock, log, tasks, events, endpoints, pods: podStore, idle });
  const calls: Calls = new Calls({
    chain,
    records,
    flights,
    source: createConfigSource(nadStore),
    clock,
    log,
    findPod: ({ pod }, o) => {
      if (pod === undefined)
        throw new SpiderError("POD_UNKNOWN", "CNI_ARGS name no Pod (K8S_POD_NAMESPACE, K8S_POD_NAME)");
      return findPod({ store: podStore, client }, pod, o);
    },
    added: (attached, pod) => after.added(attached, pod),
    failed: (attachment, error) => after.failed(attachment, error),
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
  tasks.spawn("recall", (signal) => claims.recallAndAudit({ signal }));
  tasks.spawn("bridges", (signal) =>
    runBridgeResources({ client, clock, log, ovs: ovsClients.get(undefined), nodes: nodeStore, node }, { signal }),
  );
  const ready = async (o: Signal) => {
    await Promise.all(stores.map((store) => store.synced(o)));
    await pools.now(o);
  };
  return { calls, flights, ready, files: nodeFiles(options, log, events) };
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
