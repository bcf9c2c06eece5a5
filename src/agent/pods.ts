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
 * What the API tells of the Pod with this UID, once the Pods are known: `pod` is what has its name now. A static Pod whose
 * mirror is missing may live as well as not, also where another Pod took its name; the next mirror is that of its successor.
 */
export function podState(pod: Pod | undefined, uid: string): "alive" | "dead" | "unknown" {
  if (pod !== undefined && isPodUid(pod, uid)) return isPodAlive(pod) ? "alive" : "dead";
  const isReplaced = pod !== undefined && isMirrorPod(pod);
  return isStaticPodUid(uid) && !isReplaced ? "unknown" : "dead";
}

/** Where the Pods of a node are found. */
interface PodSources {
  /** Those of the node only. */
  readonly store: Store<Pod>;
  readonly client: KubeClient;
  readonly node: string;
}

/**
 * The Pod of a call: from the watch, else from one GET; always by a GET where the runtime gives no UID, because the watch may
 * still show the Pod that had the name before. `lagMs`: how long the watch may take to show it. Throws POD_NOT_FOUND,
 * POD_REPLACED (the name belongs to another Pod by now, maybe of another node) or POD_DEAD; none of them may get an address.
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
  // A call without a UID may be late: a Pod of another node has its name by now.
  const { nodeName } = pod.spec ?? {};
  if (!isPodUid(pod, ref.uid) || nodeName !== node) {
    throw new SpiderError("POD_REPLACED", `Pod ${key} is another one by now`, {
      details: { expected: ref.uid, found: pod.metadata.uid, node: nodeName },
    });
  }
  // The watch should have shown it by now. If it is dead, the next ADDs need not wait for it in vain.
  if (known === undefined && !fits(store.get(key))) store.doubt();
  return living(pod);
}

function living(pod: Pod): Pod {
  if (isPodAlive(pod)) return pod;
  throw new SpiderError("POD_DEAD", `dead Pod ${keyOf(pod.metadata)}, it gets no addresses`, {
    details: { phase: pod.status?.phase, deletionTimestamp: pod.metadata.deletionTimestamp },
  });
}
