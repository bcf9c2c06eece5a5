import { annotations, type SpiderCoordinator } from "#api";
import type { Signal } from "#base";
import { type Attachment, CniError, cniCodes, type PodRef } from "#cni";
import { isPodUid, type KubeClient, keyOf, type Pod, pods, type Store } from "#kube";
import type { ClusterConfig } from "#plugins";

interface ClusterConfigSources {
  readonly coordinatorStore: Store<SpiderCoordinator>;
  /** The Pods of this node. */
  readonly podStore: Store<Pod>;
  readonly client: Pick<KubeClient, "get">;
}

/**
 * The coordinator's cluster-wide settings as they are for one Pod: those of the first SpiderCoordinator by name. A Pod's
 * annotation replaces the NIC of its default route.
 *
 * @throws CniError 11 while the cluster's ranges are not known: a Pod that started without them could not reach Services
 */
export async function clusterConfigOf(
  sources: ClusterConfigSources,
  { pod: ref }: Pick<Attachment, "pod">,
  o: Signal,
): Promise<ClusterConfig> {
  const [first] = sources.coordinatorStore.list().toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  if (first === undefined) {
    throw unknownYet("there is no SpiderCoordinator", {
      fix: "see whether spiderpool-controller runs, which creates it; or set mode: disable in the coordinator plugin",
    });
  }
  const shared = sharedBy(first);
  const pod = ref && (await podOf(sources, ref, o));
  const nic = pod?.metadata.annotations?.[annotations.defaultRouteNic];
  return nic === undefined ? shared : { ...shared, podDefaultRouteNIC: nic };
}

/** The very Pod: a watch that lags shows none yet, or the one that had its name before, with other annotations. */
async function podOf({ podStore, client }: ClusterConfigSources, ref: PodRef, o: Signal): Promise<Pod | undefined> {
  const seen = podStore.get(keyOf(ref));
  if (seen !== undefined && isPodUid(seen, ref.uid)) return seen;
  const asked = await client.get(pods, { namespace: ref.namespace, name: ref.name }, o);
  return asked !== undefined && isPodUid(asked, ref.uid) ? asked : undefined;
}

/** Made once for each state of a SpiderCoordinator: the plugin decodes it once, too. */
const known = new WeakMap<SpiderCoordinator, ClusterConfig>();

/** What all Pods share, but for their annotations. Throws CniError 11. */
function sharedBy(coordinator: SpiderCoordinator): ClusterConfig {
  const found = known.get(coordinator);
  if (found !== undefined) return found;
  const { metadata, spec: given, status } = coordinator;
  const { podCIDRType, ...spec } = given;
  const { phase, reason, overlayPodCIDR, serviceCIDR } = status ?? {};
  if (spec.mode !== "disabled" && phase !== "Synced") {
    throw unknownYet("the SpiderCoordinator is not ready: the cluster's Pod and Service ranges are not known", {
      coordinator: metadata.name,
      phase: phase ?? "none yet",
      reason: reason ?? "spiderpool-controller has not looked at it",
      fix: `correct what the reason says, or spec.podCIDRType (now ${podCIDRType ?? "auto"})`,
    });
  }
  const shared = { ...spec, overlayPodCIDR: overlayPodCIDR ?? [], serviceCIDR: serviceCIDR ?? [] };
  known.set(coordinator, shared);
  return shared;
}

function unknownYet(message: string, details: Readonly<Record<string, unknown>>): CniError {
  return new CniError(cniCodes.tryAgain, message, { code: "COORDINATOR_NOT_SYNCED", details });
}
