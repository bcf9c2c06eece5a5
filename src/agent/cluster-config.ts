import { annotations, type SpiderCoordinator } from "#api";
import { type Attachment, CniError, cniCodes } from "#cni";
import { keyOf, type Pod, type Store } from "#kube";
import type { ClusterConfig } from "#plugins";

/**
 * The coordinator's cluster-wide settings as they are for one Pod: those of the first SpiderCoordinator by name. A Pod's
 * annotation replaces the NIC of its default route.
 *
 * @throws CniError 11 while the cluster's ranges are not known: a Pod that started without them could not reach Services
 */
export async function clusterConfigOf(
  coordinators: Store<SpiderCoordinator>,
  pods: Store<Pod>,
  { pod: ref }: Attachment,
): Promise<ClusterConfig> {
  const [first] = coordinators.list().toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  if (first === undefined) {
    throw unknownYet("there is no SpiderCoordinator", {
      fix: "see whether spiderpool-controller runs, which creates it; or set mode: disable in the coordinator plugin",
    });
  }
  const { podCIDRType, ...spec } = first.spec;
  const { phase, reason, overlayPodCIDR, serviceCIDR } = first.status ?? {};
  if (spec.mode !== "disabled" && phase !== "Synced") {
    throw unknownYet("the SpiderCoordinator is not ready: the cluster's Pod and Service ranges are not known", {
      coordinator: first.metadata.name,
      phase: phase ?? "none yet",
      reason: reason ?? "spiderpool-controller has not looked at it",
      fix: `correct what the reason says, or spec.podCIDRType (now ${podCIDRType ?? "auto"})`,
    });
  }
  const pod = ref && pods.get(keyOf(ref));
  const nic = pod?.metadata.annotations?.[annotations.defaultRouteNic];
  return {
    ...spec,
    overlayPodCIDR: overlayPodCIDR ?? [],
    serviceCIDR: serviceCIDR ?? [],
    ...(nic === undefined ? {} : { podDefaultRouteNIC: nic }),
  };
}

function unknownYet(message: string, details: Readonly<Record<string, unknown>>): CniError {
  return new CniError(cniCodes.tryAgain, message, { code: "COORDINATOR_NOT_SYNCED", details });
}
