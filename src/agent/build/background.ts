import { isDeepStrictEqual } from "node:util";
import type { Signal } from "#base";
import type { FaultKind } from "#doctor";
import { runDoubts } from "../addresses/doubts.ts";
import { runBridgeResources } from "../node/bridges.ts";
import { type DoctorOptions, observed, runDoctor } from "../node/doctor.ts";
import { Faults } from "../node/faults.ts";
import { HostState } from "../node/host-state.ts";
import { runLeftovers } from "../node/leftovers.ts";
import type { Chain } from "../sandboxes/chain.ts";
import { takeDownEndedSandboxes } from "../sandboxes/ended-sandboxes.ts";
import type { Addresses } from "./addresses.ts";
import type { createCalls } from "./calls.ts";
import type { Context } from "./context.ts";

/** What {@link startBackground} watches over. */
interface Built extends ReturnType<typeof createCalls> {
  readonly addresses: Addresses;
  readonly chain: Chain;
}

/** Starts all that the agent does without being called. Returns what its HTTP API asks for the state of the node. */
export function startBackground(context: Context, built: Built) {
  const { tasks, events } = context;
  tasks.spawn("events", (signal) => events.run({ signal }));
  keepClaims(context, built);
  const hostState = keepNode(context, built);
  tasks.spawn("what was left undone", (signal) => finishWhatWasLeft(context, built, { signal }));
  return { doctor: startDoctor(context, built), faults: compareSources(context, built, hostState) };
}

/** Claims, against their Pods and the leader's doubts. */
function keepClaims({ options, log, tasks, cluster }: Context, { addresses }: Built): void {
  const { claims, epoch } = addresses;
  tasks.spawn("claims", (signal) => claims.run({ signal }));
  tasks.spawn("ledger epoch", (signal) => epoch.run({ signal }));
  tasks.spawn("recall", (signal) => claims.recallAndAudit({ signal }));
  const inspect = (names: readonly string[], o: Signal) => claims.inspect(names, o);
  const doubts = { node: options.node, nodes: cluster.nodeStore, inspect, log };
  tasks.spawn("doubts", (signal) => runDoubts(doubts, { signal }));
}

/** Links, rules, routes and ports of running Pods, and the bridges that the Node offers. */
function keepNode(context: Context, { chain, calls }: Built): HostState {
  const { options, log, clock, tasks, cluster, ovsClients, host, records, metrics } = context;
  const { client, podStore, nodeStore, coordinatorStore, release } = cluster;
  const fault = (kind: FaultKind) => metrics.fault(kind);

  const hasLink = (name: string) => host.rtnl.link(name) !== undefined;
  const ovs = ovsClients.get();
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
  // Pods that run get new ranges, too, as of a further ServiceCIDR. The first list is part of the look at the start.
  coordinatorStore.changed((_key, now, before) => {
    if (before === undefined || isDeepStrictEqual([now?.spec, now?.status], [before.spec, before.status])) return;
    hostState.look(tasks.signal);
  });

  const bridges = { client, clock, log, ovs, nodes: nodeStore, node: options.node, release };
  tasks.spawn("bridges", (signal) => runBridgeResources(bridges, { signal }));
  return hostState;
}

/** Resumes what a former agent left undone, once claims and Pods are known. */
async function finishWhatWasLeft({ log, cluster, records }: Context, { addresses, calls, views }: Built, o: Signal) {
  const { podStore: pods } = cluster;
  await Promise.all([addresses.ledger.recalled(o), pods.synced(o)]);
  views.resume(records.list());
  await takeDownEndedSandboxes({ records, pods, perform: (request, o) => calls.perform(request, o), log }, o);
}

function compareSources(context: Context, { addresses, calls }: Built, hostState: HostState): Faults {
  const { options, log, clock, tasks, ovsClients, host, records, events, metrics } = context;
  const faults = new Faults({
    node: options.node,
    host,
    events,
    metrics,
    clock,
    log,
    busy: () => (calls.depth.inside === 0 ? undefined : calls.idle()),
    everyMs: options.lookEveryMs,
    records: () => records.list(),
    ovs: ovsClients,
    restore: () => hostState.look(tasks.signal),
    verify: (record, o) => addresses.returned.check(record, o),
  });
  tasks.spawn("faults", (signal) => faults.run({ signal }));
  return faults;
}

function startDoctor(context: Context, { addresses }: Built): DoctorOptions {
  const { options, log, clock, tasks, cluster, ovsClients, host, records, events } = context;
  const { nadStore, coordinatorStore } = cluster;
  const doctor: DoctorOptions = {
    observe: observed(options, { host, ovs: ovsClients.get() }),
    records: () => records.list(),
    claims: () => addresses.ledger.claims(),
    nads: () => nadStore.list(),
    coordinator: () => coordinatorStore.list()[0]?.spec,
    clock,
  };
  const nadsChanged = (listener: () => void) => nadStore.changed(listener);
  tasks.spawn("doctor", (signal) => runDoctor({ ...doctor, events, nadsChanged, log }, { signal }));
  return doctor;
}
