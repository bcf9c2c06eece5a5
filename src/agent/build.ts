import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeSettings, type Settings, spiderEndpoints } from "#api";
import { type Logger, type Signal, SpiderError, systemClock, type Tasks } from "#base";
import { ownCode } from "#cni";
import type { FaultKind } from "#doctor";
import { EventRecorder, keyOf, metadataOf, namespaces, nodeSubject, TopControllers } from "#kube";
import { Intents, Ledger, reservedSets, stickyOwnerOf } from "#ledger";
import { bootId, hostNetns } from "#linux";
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
import { runBridgeResources } from "./bridges.ts";
import { Calls } from "./calls.ts";
import { Chain } from "./chain.ts";
import { ClaimsReconciler } from "./claims.ts";
import type { Cluster } from "./cluster.ts";
import { clusterConfigOf } from "./cluster-config.ts";
import { crashPoints } from "./crash-points.ts";
import { cutOff } from "./cut.ts";
import { readDevices } from "./devices.ts";
import { type DoctorOptions, observed, runDoctor } from "./doctor.ts";
import { runDoubts } from "./doubts.ts";
import { takeDownEnded } from "./ended.ts";
import { Endpoints } from "./endpoints.ts";
import { Faults } from "./faults.ts";
import type { Flights } from "./flights.ts";
import { ForeignPlugins } from "./foreign.ts";
import { HostState } from "./host-state.ts";
import { NodeFiles } from "./install/node.ts";
import { createIpam, quarantineEnd } from "./ipam.ts";
import type { IpamApiOptions } from "./ipam-api.ts";
import { LedgerEpoch } from "./ledger-epoch.ts";
import { runLeftovers } from "./leftovers.ts";
import { masterAddresses } from "./master.ts";
import type { CallMetrics } from "./metrics.ts";
import { createConfigSource } from "./nads.ts";
import { tuneNodeSysctls } from "./node-sysctls.ts";
import type { AgentOptions } from "./options.ts";
import type { OvsClients } from "./ovs-clients.ts";
import { findPod } from "./pods.ts";
import { Records } from "./records.ts";
import { Returned } from "./returned.ts";
import type { CallHandler } from "./server.ts";

const clock = systemClock;

/** What {@link build} gives: the two ways in, and what must end with it. */
export type Serving = ReturnType<typeof build>;

/** Everything that acts on the node; there may be only one of it. */
export function build(
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
  const records = new Records(join(options.runDir, "sandboxes"), join(stateDir, "sandboxes"));
  const events = new EventRecorder({ client, clock, log, component: "spiderpool-agent", host: node });
  const owners = new TopControllers(client);
  const podSources = { store: podStore, client, node };
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
    fault: (kind) => metrics.fault(kind),
    exclusive: (containerId, act, o) => calls.exclusive(containerId, act, o),
    claimed: (pod) => after.claimedAgain(pod),
    cut: (record) => cutOff(record, host),
    clock,
    log,
  });
  const claims: ClaimsReconciler = new ClaimsReconciler({
    ledger,
    intents,
    records,
    pods: podStore,
    returned,
    fault: (kind) => metrics.fault(kind),
    lookEveryMs: options.lookEveryMs,
    nodes: () => cluster.release?.nodes ?? 1,
    clock,
    log,
  });
  const epoch: LedgerEpoch = new LedgerEpoch({
    ...{ client, clock, log, node, pools: cluster.poolMetadata, lost: cluster.relist },
    recalled: (o) => ledger.recalled(o),
    check: (o) => returned.checkEvery(o),
    complete: (o) => returned.begin(o),
    takeUp: (o) => claims.takeUp(o),
  });
  const endpoints: Endpoints = new Endpoints({ client, clock, ledger, owners, node, settings });
  const ipamFor = createIpam({
    ledger,
    pools,
    pods: podStore,
    // The ADD has waited for the watch already.
    findPod: (ref, o) => findPod(podSources, ref, { ...o, lagMs: 0 }),
    // What it says of pools must not be missed: the Pod would have an address of another one for all its life.
    namespaceOf: async (name, o) => namespaceStore.get(name) ?? client.get(metadataOf(namespaces), { name }, o),
    nodes: nodeStore,
    owners,
    open: (o) => epoch.open(o),
    endpoints,
    clock,
    hasSandbox: (podUid, except) => claims.hasSandbox(podUid, except),
    hasMac: (podUid, mac) => claims.hasMac(podUid, mac),
    masterAddresses: (device) => masterAddresses(device, host),
    waits: () => metrics.waits(),
    autoPoolWaitMs: options.autoPoolWaitMs,
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
  const after: After = new After({ client, clock, log, tasks, events, endpoints, pods: podStore, idle });
  const calls: Calls = new Calls({
    chain,
    records,
    flights,
    ipamFor,
    detection,
    source: createConfigSource(nadStore),
    devicesOf: (podUid) => readDevices(podUid, settings.agent.networkResourcePlugin.kubeletRootDir),
    knownPod: (ref) => podStore.get(keyOf(ref)),
    clock,
    log,
    findPod: ({ pod }, o) => {
      if (pod === undefined)
        throw new SpiderError("POD_UNKNOWN", "CNI_ARGS name no Pod (K8S_POD_NAMESPACE, K8S_POD_NAME)");
      return findPod(podSources, pod, o);
    },
    added: (attached, pod) => after.added(attached, pod),
    failed: (attachment, error) => after.failed(attachment, error),
    ended: (flight, failure) => metrics.ended(flight, failure === undefined ? undefined : ownCode(failure)),
    failPoint: options.crashPoints ? crashPoints(options.runDir) : undefined,
    removed: ({ pod }, how) => {
      if (pod !== undefined) claims.removed(pod, how);
    },
  });
  tasks.spawn("events", (signal) => events.run({ signal }));
  tasks.spawn("claims", (signal) => claims.run({ signal }));
  const fault = (kind: FaultKind) => metrics.fault(kind);
  const hasLink = (name: string) => host.rtnl.link(name) !== undefined;
  ovsClients.get();
  ovsClients.each((ovs) => {
    tasks.spawn("left-over ports", (signal) => runLeftovers({ ovs, hasLink, fault, clock, log }, { signal }));
  });
  const hostState = new HostState({
    records,
    chain,
    host,
    ovs: ovsClients,
    exclusive: (containerId, act, o) => calls.exclusive(containerId, act, o),
    fault,
    synced: (o) => Promise.all([podStore.synced(o), coordinatorStore.synced(o)]).then(() => {}),
    clock,
    log,
  });
  tasks.spawn("host state", (signal) => hostState.run({ signal }));
  tasks.spawn("ledger epoch", (signal) => epoch.run({ signal }));
  tasks.spawn("recall", (signal) => claims.recallAndAudit({ signal }));
  const inspect = (names: readonly string[], o: Signal) => claims.inspect(names, o);
  tasks.spawn("doubts", (signal) => runDoubts({ node, nodes: nodeStore, inspect, log }, { signal }));
  tasks.spawn("what was left undone", async (signal) => {
    await Promise.all([ledger.recalled({ signal }), podStore.synced({ signal })]);
    after.resume(records.list());
    await takeDownEnded(
      { records, pods: podStore, perform: (request, o) => calls.perform(request, o), log },
      { signal },
    );
  });
  tasks.spawn("bridges", (signal) =>
    runBridgeResources({ client, clock, log, ovs: ovsClients.get(undefined), nodes: nodeStore, node }, { signal }),
  );
  const faults = new Faults({
    ...{ node, host, events, metrics, clock, log, everyMs: options.lookEveryMs },
    records: () => records.list(),
    ovs: ovsClients,
    restore: () => hostState.look(tasks.signal),
    verify: (record, o) => returned.check(record, o),
  });
  tasks.spawn("faults", (signal) => faults.run({ signal }));
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
    eventsDropped: () => events.dropped,
  });
  const api: IpamApiOptions = {
    perform: (request, o) => calls.perform(request, o),
    claimsOf: ({ namespace: of, name, uid }) =>
      ledger.claimsOf(uid || (podStore.get(`${of}/${name}`)?.metadata.uid ?? "")),
    release: (claim, why) => ledger.release(claim, { why, evidence: [] }),
    quarantine: (claim, o) => ledger.quarantine(claim, { until: quarantineEnd(clock) }, o),
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
  return { handle, api, doctor, faults, views: after, files: nodeFiles(options, log, events) };
}

function nodeFiles(options: AgentOptions, log: Logger, events: EventRecorder): NodeFiles {
  const { node, namespace, stateDir, cniBinDir, cniConfDir, shim, cniPlugins, cniSocket, clusterNetwork } = options;
  const executables =
    cniBinDir === undefined || shim === undefined
      ? undefined
      : { binDir: cniBinDir, shim, socket: cniSocket, names: cniPlugins, reference: options.referencePlugins };
  const network = cniConfDir === undefined ? undefined : { confDir: cniConfDir, clusterNetwork, namespace };
  const subject = nodeSubject(node);
  const tell = (reason: string, message: string) => {
    log.warn({ node, reason }, message);
    events.record(subject, { type: "Warning", reason, message });
  };
  return new NodeFiles({ executables, network, stateDir, clock, log, tell });
}

function readSettings(configPath: string | undefined, log: Logger): Settings {
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting has no effect");
  return settings;
}
