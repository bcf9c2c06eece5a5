import { busyboxImage } from "../cluster/images.ts";

/** Objects that the suites make; all Pods are web servers that answer with their name. */
const namespace = "default";

interface PodOptions {
  /** Of kube-system. @default the walk-through's */
  readonly network?: string;
  /** Pools by family. @default the walk-through's */
  readonly pools?: { readonly ipv4?: readonly string[]; readonly ipv6?: readonly string[] };
  readonly annotations?: Readonly<Record<string, string>>;
  readonly node?: string;
}

function template(app: string, { network = "ovs-conf", pools, annotations, node }: PodOptions) {
  const serve = "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www";
  return {
    metadata: {
      labels: { app },
      annotations: annotations ?? {
        "ipam.spidernet.io/ippool": JSON.stringify(pools ?? { ipv4: ["ippool-test"] }),
        "v1.multus-cni.io/default-network": `kube-system/${network}`,
      },
    },
    spec: {
      ...(node !== undefined && { nodeSelector: { "kubernetes.io/hostname": node } }),
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "app", image: busyboxImage, command: ["sh", "-c", serve] }],
    },
  };
}

/** A Deployment; `options.annotations` in place of the network's and the pools'. */
export function deployment(name: string, replicas: number, options: PodOptions = {}): object {
  const spec = { replicas, selector: { matchLabels: { app: name } }, template: template(name, options) };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name, namespace, labels: { app: name } }, spec };
}

export function statefulSet(name: string, replicas: number, options: PodOptions = {}): object {
  const spec = {
    replicas,
    serviceName: name,
    podManagementPolicy: "Parallel",
    selector: { matchLabels: { app: name } },
    template: template(name, options),
  };
  return { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name, namespace, labels: { app: name } }, spec };
}

export function pod(name: string, options: PodOptions = {}): object {
  const { metadata, spec } = template(name, options);
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, ...metadata }, spec };
}

export function pool(name: string, ips: string, more: object = {}): object {
  const spec = { subnet: "172.18.0.0/16", ips: [ips], gateway: "172.18.0.1", ...more };
  return { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderIPPool", metadata: { name }, spec };
}
