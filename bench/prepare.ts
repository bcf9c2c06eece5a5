import { createLabClient } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";

const ours = "spiderpool.spidernet.io/v2beta1";

/** Annotations of a Pod on the network that {@link prepareNetwork} makes. */
export const benchAnnotations = {
  "ipam.spidernet.io/ippool": '{"ipv4":["bench"]}',
  "v1.multus-cni.io/default-network": "kube-system/bench",
} as const;

/** A pool of about 1,000 addresses and an OVS network, both called `bench`; resolves when the network can be used. */
export async function prepareNetwork({ url }: Pick<LabHandle, "url">): Promise<void> {
  const client = createLabClient({ baseUrl: url });
  await client.create(`${ours}/spiderippools`, {
    apiVersion: ours,
    kind: "SpiderIPPool",
    metadata: { name: "bench" },
    spec: { subnet: "172.18.0.0/16", ips: ["172.18.100.1-172.18.103.254"], gateway: "172.18.0.1" },
  });
  await client.create(`${ours}/spidermultusconfigs`, {
    apiVersion: ours,
    kind: "SpiderMultusConfig",
    metadata: { name: "bench", namespace: "kube-system" },
    spec: { cniType: "ovs", ovs: { bridge: "br1" } },
  });
  const rendered = new AbortController();
  const { done } = client.watch(
    "k8s.cni.cncf.io/v1/network-attachment-definitions",
    { namespace: "kube-system", signal: AbortSignal.any([rendered.signal, AbortSignal.timeout(20_000)]) },
    ({ object }) => {
      if (object.metadata.name === "bench") rendered.abort();
    },
  );
  await done.catch(() => {});
  if (!rendered.signal.aborted) throw new Error("the network of the bench was not rendered within 20 s");
}
