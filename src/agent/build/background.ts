import type { Signal } from "#base";
import type { FaultKind } from "#doctor";
import { runBridgeResources } from "../bridges.ts";
import type { Chain } from "../chain.ts";
import { type DoctorOptions, observed, runDoctor } from "../doctor.ts";
import { runDoubts } from "../doubts.ts";
import { takeDownEnded } from "../ended.ts";
import { Faults } from "../faults.ts";
import { HostState } from "../host-state.ts";
import { runLeftovers } from "../leftovers.ts";
import type { Addresses } from "./addresses.ts";
import type { createCalls } from "./calls.ts";
import type { Context } from "./context.ts";

/** What {@link startBackground} watches over. */
interface Built extends ReturnType<typeof createCalls> {
  readonly addresses: Addresses;
  readonly chain: Chain;
}

/** Starts all that the agent does without being called. Returns what its HTTP API asks for the state of the node. */
export function startBackground(context: Context, { addresses, chain, calls, after }: Built) {
  const { options, log, clock, tasks, cluster, ovsClients, host, records, events, metrics } = context;
  const { ledger, claims, epoch, returned } = addresses;
  const { client, podStore, nodeStore, nadStore, coordinatorStore } = cluster;
  const { node, lookEveryMs } = options;
  const fault = (kind: FaultKind) => metrics.fault(kind);

  tasks.spawn("events", (signal) => events.run({ signal }));
  tasks.spawn("claims", (signal) => claims.run({ signal }));

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
    runBridgeResources(
      { client, clock, log, ovs: ovsClients.get(undefined), nodes: nodeStore, node, release: cluster.release },
      { signal },
    ),
  );

  const faults = new Faults({
    ...{ node, host, events, metrics, clock, log, everyMs: lookEveryMs },
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
  const nadsChanged = (listener: () => void) => nadStore.changed(listener);
  tasks.spawn("doctor", (signal) => runDoctor({ ...doctor, events, nadsChanged, log }, { signal }));
  return { doctor, faults };
}
