import type { Node, Pod } from "./core.ts";

/** Annotation of a static Pod's mirror: the UID under which kubelet's runtime knows it. */
const configHash = "kubernetes.io/config.hash";
const configMirror = "kubernetes.io/config.mirror";

/** True if `uid`, as the runtime gave it, is this Pod's: its own, or the hash of a static Pod's configuration. */
export function isPodUid({ metadata }: Pod, uid: string): boolean {
  const { [configHash]: hash, [configMirror]: mirror } = metadata.annotations ?? {};
  return uid === "" || uid === metadata.uid || uid === hash || uid === mirror;
}

/** True if the UID is the hash of a static Pod's configuration: whether such a Pod runs, only its node can tell. */
export function isStaticPodUid(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}

/** True for what kubelet shows of a static Pod; the API server lets nobody else make one. */
export function isMirrorPod({ metadata }: Pod): boolean {
  return metadata.annotations?.[configMirror] !== undefined;
}

/** A Pod that still runs or will: not deleted, and not ended for good. */
export function isPodAlive({ metadata, spec, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  if (status?.phase === "Succeeded") return spec?.restartPolicy === "Always";
  if (status?.phase === "Failed") return spec?.restartPolicy !== "Never" && status.reason !== "Evicted";
  return true;
}

/** The condition `Ready` in the status of a Pod or Node; `Unknown` if there is none. */
export function readyCondition({ status }: Pod | Node): "True" | "False" | "Unknown" {
  const conditions: readonly { readonly type: string; readonly status: string }[] = status?.conditions ?? [];
  const found = conditions.find(({ type }) => type === "Ready")?.status;
  return found === "True" || found === "False" ? found : "Unknown";
}
