import { SpiderError } from "#base";
import { ownCode } from "#cni";
import { keyOf } from "#kube";
import { Calls } from "../calls/calls.ts";
import { crashPoints } from "../calls/crash-points.ts";
import { readDevices } from "../calls/devices.ts";
import { createConfigSource } from "../calls/nads.ts";
import { PodViews } from "../calls/pod-views.ts";
import { findPod } from "../cluster/pods.ts";
import type { Chain } from "../sandboxes/chain.ts";
import type { Addresses } from "./addresses.ts";
import type { Context } from "./context.ts";

/** What answers CNI calls, and what follows the answer: views and Events. */
export function createCalls(context: Context, { claims, endpoints, ipamFor }: Addresses, chain: Chain) {
  const { options, log, clock, tasks, cluster, settings, detection, records, events, flights, metrics } = context;
  const { client, podStore, nadStore } = cluster;
  const views: PodViews = new PodViews({
    client,
    clock,
    log,
    tasks,
    events,
    endpoints,
    pods: podStore,
    idle: () => calls.idle(),
  });
  const calls: Calls = new Calls({
    chain,
    records,
    flights,
    ipamFor,
    detection,
    source: createConfigSource(nadStore),
    nadsChanged: (listener) => nadStore.changed(listener),
    devicesOf: (podUid) => readDevices(podUid, settings.agent.networkResourcePlugin.kubeletRootDir),
    knownPod: (ref) => podStore.get(keyOf(ref)),
    clock,
    log,
    findPod: ({ pod }, o) => {
      if (pod === undefined)
        throw new SpiderError("POD_UNKNOWN", "CNI_ARGS name no Pod (K8S_POD_NAMESPACE, K8S_POD_NAME)");
      return findPod({ store: podStore, client, node: options.node }, pod, o);
    },
    added: (attached, pod) => views.added(attached, pod),
    addressed: (pod) => views.addressed(pod),
    failed: (attachment, error) => views.failed(attachment, error),
    // The answer is on its way before its call is counted.
    ended: (flight, failure) =>
      void setImmediate(() => metrics.ended(flight, failure === undefined ? undefined : ownCode(failure))),
    failPoint: options.crashPoints ? crashPoints(options.runDir) : undefined,
    removed: ({ pod }, how) => {
      if (pod !== undefined) claims.removed(pod, how);
    },
  });
  return { calls, views };
}
