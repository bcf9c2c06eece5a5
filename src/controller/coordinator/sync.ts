import { isDeepStrictEqual } from "node:util";
import {
  coordinatorDefaults,
  defaultCoordinator,
  finalizer,
  type SpiderCoordinator,
  type SpiderCoordinatorSpec,
  spiderCoordinators,
} from "#api";
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

/** Keeps every SpiderCoordinator complete and its status true; creates the cluster's own where it is absent. */
export function coordinatorController(
  { client, clock, log, events }: Deps,
  {
    coordinators,
    name: own,
    spec = installed,
  }: {
    readonly coordinators: Store<SpiderCoordinator>;
    readonly name: string;
    /** @default what the chart installs */
    readonly spec?: SpiderCoordinatorSpec | undefined;
  },
): ControllerOptions {
  const update = (coordinator: SpiderCoordinator, o: { readonly signal: AbortSignal }) =>
    client.update(spiderCoordinators, coordinator, o).catch((cause: unknown) => {
      if (!hasReason(cause, "Invalid", "Forbidden")) throw cause;
      const details = { coordinator: coordinator.metadata.name };
      throw new TerminalError("a coordinator's defaults are refused", { cause, details });
    });
  return {
    name: "coordinator",
    clock,
    log,
    sources: [
      fromStore(coordinators),
      {
        synced: (o) => coordinators.synced(o),
        subscribe: (add) => {
          add(own);
          return () => {};
        },
      },
    ],
    reconcile: async (name, o) => {
      const coordinator = coordinators.get(name);
      if (coordinator === undefined) {
        if (name !== own) return {};
        await client.create(spiderCoordinators, { metadata: { name, finalizers: [finalizer] }, spec }, o);
        return {};
      }
      const { metadata } = coordinator;
      if (metadata.deletionTimestamp !== undefined) {
        // Nothing depends on a coordinator: it may go at once.
        const finalizers = (metadata.finalizers ?? []).filter((one) => one !== finalizer);
        if (finalizers.length !== metadata.finalizers?.length) {
          await update({ ...coordinator, metadata: { ...metadata, finalizers } }, o);
        }
        return {};
      }
      const repaired = defaultCoordinator(coordinator);
      if (!isDeepStrictEqual(repaired, coordinator)) {
        await update(repaired, o);
        return {};
      }
      const status = resolveCidrs(coordinator.spec.podCIDRType ?? "auto", await readFacts(client, o));
      if (!isDeepStrictEqual(status, coordinator.status)) {
        const { resourceVersion } = metadata;
        const body = { metadata: { resourceVersion }, status };
        await client.patch(spiderCoordinators, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
      }
      if (status.phase === "NotReady") {
        const message = status.reason ?? "";
        events.record(subjectOf(spiderCoordinators, coordinator), {
          type: "Warning",
          reason: "ClusterNotReady",
          message,
        });
      }
      return { afterMs: rereadMs };
    },
  };
}
