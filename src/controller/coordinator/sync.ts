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
import {
  type ControllerOptions,
  fromStore,
  hasReason,
  type ObjectRef,
  type Store,
  subjectOf,
  TerminalError,
} from "#kube";
import type { Deps } from "../deps.ts";
import { resolveCidrs } from "./cidrs.ts";
import { readFacts } from "./facts.ts";

/** A cluster's ranges hardly ever change: reading them again at this interval is enough, also while they are unknown. */
const rereadMs = 30_000;

/** The spec that the chart installs. Node-local DNS listens in 169.254.0.0/16. */
const installed: SpiderCoordinatorSpec = {
  ...coordinatorDefaults,
  podCIDRType: "auto",
  hijackCIDR: ["169.254.0.0/16"],
};

interface CoordinatorControllerOptions {
  readonly coordinators: Store<SpiderCoordinator>;
  /** Name of the cluster's SpiderCoordinator, which is created if it does not exist. */
  readonly name: string;
  /** @default the chart's */
  readonly spec?: SpiderCoordinatorSpec | undefined;
  /** The ConfigMap of Cilium's settings. */
  readonly cilium: ObjectRef;
}

/** Fills in every SpiderCoordinator and keeps its status up to date; creates the cluster's own if it does not exist. */
export function coordinatorController(
  deps: Deps,
  { coordinators, name: own, spec = installed, cilium }: CoordinatorControllerOptions,
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
        return {}; // The watch brings the updated object.
      }
      if (coordinator.metadata.deletionTimestamp !== undefined) return {};
      await publish(deps, coordinator, cilium, o);
      return { afterMs: rereadMs };
    },
  };
}

/** Queues `name` once, even if there is no such object. */
function alsoIfAbsent(name: string, store: Store<SpiderCoordinator>): ControllerOptions["sources"][number] {
  return {
    synced: (o) => store.synced(o),
    subscribe: (add) => {
      add(name);
      return () => {};
    },
  };
}

/** Removes the finalizer at once: nothing depends on a coordinator. */
function letGo(coordinator: SpiderCoordinator): SpiderCoordinator {
  const { finalizers, ...metadata } = coordinator.metadata;
  if (finalizers === undefined) return coordinator;
  return { ...coordinator, metadata: { ...metadata, finalizers: finalizers.filter((one) => one !== finalizer) } };
}

/** Throws TerminalError if admission refuses the object: a retry would be refused, too. */
async function update({ client }: Deps, coordinator: SpiderCoordinator, o: Signal): Promise<void> {
  try {
    await client.update(spiderCoordinators, coordinator, o);
  } catch (cause) {
    if (!hasReason(cause, "Invalid", "Forbidden")) throw cause;
    const details = { coordinator: coordinator.metadata.name };
    throw new TerminalError("a coordinator's defaults are refused", { cause, details });
  }
}

/** Writes the cluster's current ranges to the status, with an Event if they are unknown. */
async function publish(
  { client, events }: Deps,
  coordinator: SpiderCoordinator,
  cilium: ObjectRef,
  o: Signal,
): Promise<void> {
  const { name, resourceVersion } = coordinator.metadata;
  const { podCIDRType = "auto", hijackCIDR } = coordinator.spec;
  const status = resolveCidrs(podCIDRType, await readFacts(client, cilium, o), hijackCIDR);
  if (!isDeepStrictEqual(status, coordinator.status)) {
    const body = { metadata: { resourceVersion }, status };
    await client.patch(spiderCoordinators, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
  }
  if (status.phase !== "NotReady") return;
  const message = status.reason ?? "";
  events.record(subjectOf(spiderCoordinators, coordinator), { type: "Warning", reason: "ClusterNotReady", message });
}
