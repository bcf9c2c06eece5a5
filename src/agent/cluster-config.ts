import { annotations, type SpiderCoordinator } from "#api";
import type { Attachment } from "#cni";
import { keyOf, type Pod, type Store } from "#kube";
import type { ClusterConfig } from "#plugins";

/**
 * The coordinator's cluster-wide settings as they are for one Pod: those of the SpiderCoordinator, if there is one. A
 * Pod's annotation replaces the NIC of its default route.
 */
export async function clusterConfigOf(
  coordinators: Store<SpiderCoordinator>,
  pods: Store<Pod>,
  { pod: ref }: Attachment,
): Promise<ClusterConfig> {
  const [first] = coordinators.list().toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const { podCIDRType: _type, ...spec } = first?.spec ?? {};
  const pod = ref && pods.get(keyOf(ref));
  const nic = pod?.metadata.annotations?.[annotations.defaultRouteNic];
  return {
    ...spec,
    overlayPodCIDR: first?.status?.overlayPodCIDR ?? [],
    serviceCIDR: first?.status?.serviceCIDR ?? [],
    ...(nic === undefined ? {} : { podDefaultRouteNIC: nic }),
  };
}
