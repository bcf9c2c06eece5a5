import { abortable, type Signal, SpiderError, withTimeout } from "#base";
import type { PodRef } from "#cni";
import {
  isMirrorPod,
  isPodAlive,
  isPodUid,
  isStaticPodUid,
  type KubeClient,
  keyOf,
  type Pod,
  pods,
  type Store,
} from "#kube";

/** How long an ADD waits for the watch to show its Pod before it asks the API server itself. */
const watchLagMs = 1_500;

/** The runtime's own word for the Pod's UID: for a static Pod it is not the mirror's. */
export function uidOf(ref: PodRef | undefined, pod: Pod | undefined): string {
  return ref?.uid || (pod?.metadata.uid ?? "");
}

/**
 * What the API says about the Pod with this UID, once the Pods are known. `pod` is the one that has its name now. A static Pod
 * whose mirror is missing may be alive or not, even if another Pod has its name: a new mirror may be that of its successor.
 */
export function podState(pod: Pod | undefined, uid: string): "alive" | "dead" | "unknown" {
  if (pod !== undefined && isPodUid(pod, uid)) return isPodAlive(pod) ? "alive" : "dead";
  const isReplaced = pod !== undefined && isMirrorPod(pod);
  return isStaticPodUid(uid) && !isReplaced ? "unknown" : "dead";
}

/** Where the Pods of a node are found. */
interface PodSources {
  /** The Pods of this node. */
  readonly store: Store<Pod>;
  readonly client: KubeClient;
  readonly node: string;
}

/**
 * The Pod of a call, from the watch or by one GET. Without a UID it is always a GET, because the watch may still show an earlier
 * Pod of that name. `lagMs` is how long the watch may take to show the Pod. Throws POD_NOT_FOUND, POD_REPLACED (the name belongs
 * to another Pod now, maybe on another node) or POD_DEAD; such a Pod must not get an address.
 */
export async function findPod(
  { store, client, node }: PodSources,
  ref: PodRef,
  { signal, lagMs = watchLagMs }: Signal & { readonly lagMs?: number },
): Promise<Pod> {
  const key = keyOf(ref);
  const fits = (pod: Pod | undefined) => pod !== undefined && isPodUid(pod, ref.uid);
  const seen = async () => {
    const known = store.get(key);
    if (known !== undefined && fits(known)) return known;
    if (lagMs === 0) return undefined;
    using patience = withTimeout(signal, lagMs, () => new Error("the watch lags"));
    return await abortable(store.waitFor(key, fits, { signal: patience }), patience).catch(() => {
      signal.throwIfAborted();
      return undefined;
    });
  };
  const known = ref.uid === "" ? undefined : await seen();
  const pod = known ?? (await client.get(pods, { namespace: ref.namespace, name: ref.name }, { signal }));
  if (pod === undefined)
    throw new SpiderError("POD_NOT_FOUND", `Pod ${key} does not exist`, { details: { uid: ref.uid } });
  // A call without a UID may be late: a Pod on another node may have the name by now.
  const { nodeName } = pod.spec ?? {};
  if (!isPodUid(pod, ref.uid) || nodeName !== node) {
    throw new SpiderError("POD_REPLACED", `Pod ${key} is another one by now`, {
      details: { expected: ref.uid, found: pod.metadata.uid, node: nodeName },
    });
  }
  // The watch should have shown it by now. If the watch is dead, later ADDs must not wait for it in vain.
  if (known === undefined && !fits(store.get(key))) store.doubt();
  return living(pod);
}

function living(pod: Pod): Pod {
  if (isPodAlive(pod)) return pod;
  throw new SpiderError("POD_DEAD", `dead Pod ${keyOf(pod.metadata)}, it gets no addresses`, {
    details: { phase: pod.status?.phase, deletionTimestamp: pod.metadata.deletionTimestamp },
  });
}
