import type { Signal } from "#base";
import {
  ApiStatusError,
  configMaps,
  type KubeClient,
  type KubeObject,
  keyOf,
  type ObjectRef,
  pods,
  type Resource,
} from "#kube";
import type { ClusterFacts } from "./cidrs.ts";

interface ServiceCidr extends KubeObject {
  readonly spec?: { readonly cidrs?: readonly string[] };
}

interface CalicoPool extends KubeObject {
  readonly spec?: { readonly cidr?: string; readonly disabled?: boolean };
}

interface CiliumPool extends KubeObject {
  readonly spec?: Readonly<Record<"ipv4" | "ipv6", { readonly cidrs?: readonly string[] } | undefined>>;
}

/** API versions in which a cluster may serve ServiceCIDR, the newest first. */
const serviceCidrs = ["v1", "v1beta1", "v1alpha1"].map(
  (version): Resource<ServiceCidr> => ({
    group: "networking.k8s.io",
    version,
    plural: "servicecidrs",
    kind: "ServiceCIDR",
    namespaced: false,
  }),
);
const calicoPools: Resource<CalicoPool> = {
  group: "crd.projectcalico.org",
  version: "v1",
  plural: "ippools",
  kind: "IPPool",
  namespaced: false,
};
const ciliumPools: Resource<CiliumPool> = {
  group: "cilium.io",
  version: "v2alpha1",
  plural: "ciliumpodippools",
  kind: "CiliumPodIPPool",
  namespaced: false,
};

/**
 * Reads the current facts; `ciliumAt` names the ConfigMap of Cilium's settings. A kind that the cluster does not serve, or that we
 * may not read, counts as absent.
 */
export async function readFacts(client: KubeClient, ciliumAt: ObjectRef, o: Signal): Promise<ClusterFacts> {
  const config = (namespace: string, name: string) => client.get(configMaps, { namespace, name }, o);
  const [kubeadm, cilium, flannel, formerFlannel, managers, services, calico, ciliumPodPools] = await Promise.all([
    config("kube-system", "kubeadm-config"),
    client.get(configMaps, ciliumAt, o),
    config("kube-flannel", "kube-flannel-cfg"),
    config("kube-system", "kube-flannel-cfg"),
    client.list(pods, { ...o, labelSelector: "component=kube-controller-manager", limit: 1 }),
    listServiceCidrs(client, o),
    listIfServed(client, calicoPools, o),
    listIfServed(client, ciliumPools, o),
  ]);
  const container = managers.items[0]?.spec?.containers[0];
  return {
    kubeadm: kubeadm?.data?.["ClusterConfiguration"],
    controllerManager: container && [...(container.command ?? []), ...(container.args ?? [])],
    serviceCidrs: byAge(services).flatMap(({ spec }) => spec?.cidrs ?? []),
    calicoPools: byAge(calico ?? [])
      .filter(({ metadata, spec }) => spec?.disabled !== true && metadata.deletionTimestamp === undefined)
      .flatMap(({ spec }) => spec?.cidr ?? []),
    cilium: cilium?.data,
    ciliumAt: keyOf(ciliumAt),
    ciliumPools: byAge(ciliumPodPools ?? []).flatMap(({ spec }) => [
      ...(spec?.ipv4?.cidrs ?? []),
      ...(spec?.ipv6?.cidrs ?? []),
    ]),
    flannel: (flannel ?? formerFlannel) !== undefined,
  };
}

async function listServiceCidrs(client: KubeClient, o: Signal): Promise<readonly ServiceCidr[]> {
  for (const resource of serviceCidrs) {
    const found = await listIfServed(client, resource, o);
    if (found !== undefined) return found;
  }
  return [];
}

async function listIfServed<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  o: Signal,
): Promise<readonly T[] | undefined> {
  try {
    return (await client.list(resource, o)).items;
  } catch (error) {
    // The authorizer runs before the API server knows that a kind is not served: both answers mean that.
    if (error instanceof ApiStatusError && (error.status === 404 || error.status === 403)) return undefined;
    throw error;
  }
}

function byAge<T extends KubeObject>(objects: readonly T[]): readonly T[] {
  const key = ({ metadata: { creationTimestamp = "", name } }: T) => `${creationTimestamp} ${name}`;
  return objects.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}
