import { abortable, type Signal, SpiderError, withTimeout } from "#base";
import type { PodRef } from "#cni";
import { type KubeClient, keyOf, type Pod, pods, type Store } from "#kube";

/** How long an ADD waits for the watch to show its Pod before it asks the API server itself. */
const watchLagMs = 1_500;

/** Annotation of a static Pod's mirror: the UID under which kubelet's runtime knows it. */
const configHash = "kubernetes.io/config.hash";
const configMirror = "kubernetes.io/config.mirror";

/** True where `uid`, as the runtime gave it, is this Pod's: its own, or the hash of a static Pod's configuration. */
export function isPodUid({ metadata }: Pod, uid: string): boolean {
  const { [configHash]: hash, [configMirror]: mirror } = metadata.annotations ?? {};
  return uid === "" || uid === metadata.uid || uid === hash || uid === mirror;
}

/** A Pod that still runs or will: not deleted, and not ended for good. */
export function isPodAlive({ metadata, spec, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  if (status?.phase === "Succeeded") return spec?.restartPolicy === "Always";
  if (status?.phase === "Failed") return spec?.restartPolicy !== "Never" && status.reason !== "Evicted";
  return true;
}

/** The runtime's own word for the Pod's UID: for a static Pod it is not the mirror's. */
export function uidOf(ref: PodRef | undefined, pod: Pod | undefined): string {
  return ref?.uid || (pod?.metadata.uid ?? "");
}

/**
 * What the API tells of the Pod with this UID, once the Pods are known: `pod` is what has its name now. A static Pod whose
 * mirror is missing may live as well as not.
 */
export function podState(pod: Pod | undefined, uid: string): "alive" | "dead" | "unknown" {
  if (pod === undefined) return isStaticUid(uid) ? "unknown" : "dead";
  return isPodUid(pod, uid) && isPodAlive(pod) ? "alive" : "dead";
}

/** The hash of a static Pod's configuration is no UUID. */
function isStaticUid(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}

/**
 * The Pod of a call: from the watch, else from one GET. Throws POD_NOT_FOUND, POD_REPLACED (the name belongs to another
 * Pod by now) or POD_DEAD; neither of them may get an address.
 */
export async function findPod(
  sources: { readonly store: Store<Pod>; readonly client: KubeClient },
  ref: PodRef,
  { signal }: Signal,
): Promise<Pod> {
  const { store, client } = sources;
  const key = keyOf(ref);
  const fits = (pod: Pod | undefined) => pod !== undefined && isPodUid(pod, ref.uid);
  const known = store.get(key);
  if (known !== undefined && fits(known)) return living(known);
  using patience = withTimeout(signal, watchLagMs, () => new Error("the watch lags"));
  const seen = await abortable(store.waitFor(key, fits, { signal: patience }), patience).catch(() => {
    signal.throwIfAborted();
    return undefined;
  });
  const pod = seen ?? (await client.get(pods, { namespace: ref.namespace, name: ref.name }, { signal }));
  if (pod === undefined)
    throw new SpiderError("POD_NOT_FOUND", `Pod ${key} does not exist`, { details: { uid: ref.uid } });
  if (!isPodUid(pod, ref.uid)) {
    throw new SpiderError("POD_REPLACED", `Pod ${key} is another one by now`, {
      details: { expected: ref.uid, found: pod.metadata.uid },
    });
  }
  return living(pod);
}

function living(pod: Pod): Pod {
  if (isPodAlive(pod)) return pod;
  throw new SpiderError("POD_DEAD", `dead Pod ${keyOf(pod.metadata)}, it gets no addresses`, {
    details: { phase: pod.status?.phase, deletionTimestamp: pod.metadata.deletionTimestamp },
  });
}
