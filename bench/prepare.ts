import { createLabClient } from "../lab/api/index.ts";
import type { LabHandle } from "../lab/launch.ts";

const ours = "spiderpool.spidernet.io/v2beta1";

type Annotations = Readonly<Record<string, string>>;

/** Annotations of a Pod on the network that most sections measure. */
export const benchAnnotations: Annotations = {
  "ipam.spidernet.io/ippool": '{"ipv4":["bench"]}',
  "v1.multus-cni.io/default-network": "kube-system/bench",
};

/** One NIC of macvlan. */
export const macvlanAnnotations: Annotations = { "v1.multus-cni.io/default-network": "kube-system/bench-macvlan" };

/** Three NICs: macvlan, Open vSwitch, macvlan. */
export const threeNicsAnnotations: Annotations = {
  ...macvlanAnnotations,
  "k8s.v1.cni.cncf.io/networks": "kube-system/bench-second,kube-system/bench-third",
};

/** Networks by name, each with its spec and, but for the first, with the second octet of a pool of its own. */
const macvlan = { cniType: "macvlan", macvlan: { master: ["br1"] } } as const;
const ovs = { cniType: "ovs", ovs: { bridge: "br1" } } as const;
const networks = [
  { name: "bench", spec: ovs, octet: undefined },
  { name: "bench-macvlan", spec: macvlan, octet: 20 },
  { name: "bench-second", spec: ovs, octet: 21 },
  { name: "bench-third", spec: macvlan, octet: 22 },
] as const;

/** The networks of the bench with pools of about 1,000 addresses each; resolves when they can be used. */
export async function prepareNetwork({ url }: Pick<LabHandle, "url">): Promise<void> {
  const client = createLabClient({ baseUrl: url });
  for (const { name, spec, octet = 18 } of networks) {
    const net = `172.${octet}`;
    await client.create(`${ours}/spiderippools`, {
      apiVersion: ours,
      kind: "SpiderIPPool",
      metadata: { name },
      spec: { subnet: `${net}.0.0/16`, ips: [`${net}.100.1-${net}.103.254`], gateway: `${net}.0.1` },
    });
    const type = spec.cniType;
    const own = "ovs" in spec ? spec.ovs : spec.macvlan;
    const ippools = name === "bench" ? {} : { ippools: { ipv4: [name] } };
    await client.create(`${ours}/spidermultusconfigs`, {
      apiVersion: ours,
      kind: "SpiderMultusConfig",
      metadata: { name, namespace: "kube-system" },
      spec: { cniType: type, [type]: { ...own, ...ippools } },
    });
  }
  const missing = new Set<string>(networks.map(({ name }) => name));
  const rendered = new AbortController();
  const { done } = client.watch(
    "k8s.cni.cncf.io/v1/network-attachment-definitions",
    { namespace: "kube-system", signal: AbortSignal.any([rendered.signal, AbortSignal.timeout(20_000)]) },
    ({ object }) => {
      missing.delete(object.metadata.name);
      if (missing.size === 0) rendered.abort();
    },
  );
  await done.catch(() => {});
  if (!rendered.signal.aborted) {
    throw new Error(`networks of the bench were not rendered within 20 s: ${[...missing].join(", ")}`);
  }
}
