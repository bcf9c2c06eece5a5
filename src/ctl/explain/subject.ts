import type { CoreEvent, Pod } from "#kube";
import { networkStatusAnnotation } from "#multus";
import type { PodState, Subject } from "./facts.ts";
import type { PodManifest } from "./manifest.ts";

/** The Pod that is asked about, as stored; if it is gone, as its Events tell. */
export function subjectOf(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  pod: Pod | undefined,
  told: readonly CoreEvent[],
): Subject {
  if (pod === undefined) {
    const nodeName = told.findLast(({ source }) => source?.component === "spiderpool-agent")?.source?.host;
    return { ...blank, namespace, name, nodeName, state: "gone" };
  }
  const { uid, labels: own = {}, annotations: notes = {}, ownerReferences = [] } = pod.metadata;
  const scheduled = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  return {
    ...blank,
    namespace,
    name,
    uid,
    labels: own,
    annotations: notes,
    ownerReferences,
    nodeName: pod.spec?.nodeName,
    nodeSelector: pod.spec?.nodeSelector ?? {},
    hostNetwork: pod.spec?.hostNetwork === true,
    state: stateOf(pod),
    ips: pod.status?.podIPs?.flatMap(({ ip }) => ip ?? []) ?? [],
    unscheduled: scheduled?.status === "False" ? (scheduled.message ?? scheduled.reason) : undefined,
  };
}

const blank: Subject = {
  namespace: "",
  name: "",
  uid: "",
  labels: {},
  annotations: {},
  ownerReferences: [],
  nodeSelector: {},
  ips: [],
  nodeName: undefined,
  hostNetwork: false,
  state: "new",
  unscheduled: undefined,
};

/** The Pod that a manifest would make. */
export function subjectOfManifest({ metadata, spec }: PodManifest): Subject {
  const { nodeName, nodeSelector = {}, hostNetwork = false } = spec;
  return { ...blank, ...metadata, nodeName, nodeSelector, hostNetwork };
}

function stateOf({ metadata, status }: Pod): PodState {
  if (metadata.deletionTimestamp !== undefined || status?.phase === "Succeeded" || status?.phase === "Failed") {
    return "ended";
  }
  const isAttached = metadata.annotations?.[networkStatusAnnotation] !== undefined || (status?.podIP ?? "") !== "";
  return isAttached ? "running" : "waiting";
}
