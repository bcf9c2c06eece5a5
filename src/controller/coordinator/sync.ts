import { isDeepStrictEqual } from "node:util";
import {
  coordinatorDefaults,
  defaultCoordinator,
  finalizer,
  type SpiderCoordinator,
  type SpiderCoordinatorSpec,
  spiderCoordinators,
} from "#api";
import type { Signal } from "#base";
import { type ControllerOptions, fromStore, hasReason, type Store, TerminalError } from "#kube";
import { type Deps, subjectOf } from "../deps.ts";
import { resolveCidrs } from "./cidrs.ts";
import { readFacts } from "./facts.ts";

/** The ranges of a cluster hardly ever change: they are simply read anew so often, also while they are not known. */
const rereadMs = 30_000;

/** What the chart installs. 169.254.0.0/16 is where node-local DNS listens. */
const installed: SpiderCoordinatorSpec = {
  ...coordinatorDefaults,
  podCIDRType: "auto",
  hijackCIDR: ["169.254.0.0/16"],
};

interface CoordinatorControllerOptions {
  readonly coordinators: Store<SpiderCoordinator>;
  /** Of the cluster's own, which is made where it is absent. */
  readonly name: string;
  /** @default what the chart installs */
  readonly spec?: SpiderCoordinatorSpec | undefined;
}

/** Keeps every SpiderCoordinator complete and its status true; creates the cluster's own where it is absent. */
export function coordinatorController(
  deps: Deps,
  { coordinators, name: own, spec = installed }: CoordinatorControllerOptions,
): ControllerOptions {
  const { client, clock, log } = deps;
  return {
    name: "coordinator",
    clock,
    log,
    sources: [fromStore(coordinators), alsoIfAbsent(own, coordinators)],
    reconcile: async (name, o) => {
      const coordinator = coordinators.get(name);
      if (coordinator === undefined) {
        if (name === own) {
          await client.create(spiderCoordinators, { metadata: { name, finalizers: [finalizer] }, spec }, o);
        }
        return {};
      }
      const wanted =
        coordinator.metadata.deletionTimestamp === undefined ? defaultCoordinator(coordinator) : letGo(coordinator);
      if (!isDeepStrictEqual(wanted, coordinator)) {
        await update(deps, wanted, o);
        return {}; // It comes again by the watch.
      }
      if (coordinator.metadata.deletionTimestamp !== undefined) return {};
      await publish(deps, coordinator, o);
      return { afterMs: rereadMs };
    },
  };
}

/** Has the controller look at `name` once, though there may be no such object. */
function alsoIfAbsent(name: string, store: Store<SpiderCoordinator>): ControllerOptions["sources"][number] {
  return {
    synced: (o) => store.synced(o),
    subscribe: (add) => {
      add(name);
      return () => {};
    },
  };
}

/** Nothing depends on a coordinator: it may go at once. */
function letGo(coordinator: SpiderCoordinator): SpiderCoordinator {
  const { finalizers, ...metadata } = coordinator.metadata;
  if (finalizers === undefined) return coordinator;
  return { ...coordinator, metadata: { ...metadata, finalizers: finalizers.filter((one) => one !== finalizer) } };
}

/** Throws TerminalError where admission refuses it: the same would be refused again. */
async function update({ client }: Deps, coordinator: SpiderCoordinator, o: Signal): Promise<void> {
  try {
    await client.update(spiderCoordinators, coordinator, o);
  } catch (cause) {
    if (!hasReason(cause, "Invalid", "Forbidden")) throw cause;
    const details = { coordinator: coordinator.metadata.name };
    throw new TerminalError("a coordinator's defaults are refused", { cause, details });
  }
}

/** Writes what the cluster's ranges are now, and tells where they are not known. */
async function publish({ client, events }: Deps, coordinator: SpiderCoordinator, o: Signal): Promise<void> {
  const { name, resourceVersion } = coordinator.metadata;
  const status = resolveCidrs(coordinator.spec.podCIDRType ?? "auto", await readFacts(client, o));
  if (!isDeepStrictEqual(status, coordinator.status)) {
    const body = { metadata: { resourceVersion }, status };
    await client.patch(spiderCoordinators, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
  }
  if (status.phase !== "NotReady") return;
  const message = status.reason ?? "";
  events.record(subjectOf(spiderCoordinators, coordinator), { type: "Warning", reason: "ClusterNotReady", message });
}
