import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxImage } from "../cluster/images.ts";

/**
 * What a former Spiderpool has in a cluster, as its chart installs it: kinds, workloads of the same names and selectors, and
 * objects with their finalizers and records. In place of its programs something sleeps.
 */
type Json = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const texts = { type: "array", items: text };
const count = { type: "integer", format: "int64", minimum: 0 };
const version = { type: "integer", format: "int64", enum: [4, 6] };
const object = (properties: Json, required: readonly string[] = []): Json => ({ type: "object", properties, required });
const routes = { type: "array", items: object({ dst: text, gw: text }, ["dst", "gw"]) };
const selector = {
  ...object({
    matchLabels: { type: "object", additionalProperties: text },
    matchExpressions: {
      type: "array",
      items: object({ key: text, operator: text, values: texts }, ["key", "operator"]),
    },
  }),
  "x-kubernetes-map-type": "atomic",
};

function kind(
  kindName: string,
  short: string,
  scope: "Cluster" | "Namespaced",
  properties: Json,
  hasStatus: boolean,
): Json {
  const plural = `${kindName.toLowerCase()}s`;
  const group = "spiderpool.spidernet.io";
  const schema = object({ apiVersion: text, kind: text, metadata: { type: "object" }, ...properties });
  const names = {
    kind: kindName,
    listKind: `${kindName}List`,
    plural,
    singular: plural.slice(0, -1),
    shortNames: [short],
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { ...names, categories: ["spiderpool"] },
      versions: [
        {
          name: "v2beta1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: schema },
          ...(hasStatus && { subresources: { status: {} } }),
        },
      ],
    },
  };
}

const address = object(
  {
    interface: text,
    ipv4: text,
    ipv4Pool: text,
    ipv4Gateway: text,
    ipv6: text,
    ipv6Pool: text,
    ipv6Gateway: text,
    cleanGateway: { type: "boolean" },
    vlan: { ...count, maximum: 4094, default: 0 },
    mac: text,
    routes,
  },
  ["interface"],
);

/** Its kinds, as far as these tests have objects of them. */
export const formerKinds: readonly Json[] = [
  kind(
    "SpiderIPPool",
    "sp",
    "Cluster",
    {
      spec: object(
        {
          ipVersion: version,
          subnet: text,
          ips: texts,
          excludeIPs: texts,
          gateway: text,
          routes,
          podAffinity: selector,
          namespaceAffinity: selector,
          namespaceName: texts,
          nodeAffinity: selector,
          nodeName: texts,
          multusName: texts,
          default: { type: "boolean", default: false },
          disable: { type: "boolean", default: false },
        },
        ["subnet"],
      ),
      status: object({ allocatedIPs: text, totalIPCount: count, allocatedIPCount: count }),
    },
    true,
  ),
  kind(
    "SpiderEndpoint",
    "se",
    "Namespaced",
    {
      status: object(
        {
          current: object({ uid: text, node: text, ips: { type: "array", items: address } }, ["uid", "node", "ips"]),
          ownerControllerType: text,
          ownerControllerName: text,
        },
        ["current", "ownerControllerType", "ownerControllerName"],
      ),
    },
    false,
  ),
  kind("SpiderReservedIP", "sr", "Cluster", { spec: object({ ipVersion: version, ips: texts }) }, false),
];

/** A Pod that has an address of it. */
interface FormerPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
}

const group = "spiderpool.spidernet.io/v2beta1";
const finalizers = ["spiderpool.spidernet.io"];

/** The endpoint of a Pod; one of a StatefulSet is nobody's, so that it outlives the Pod. */
export function formerEndpoint(pod: FormerPod, ip: string, pool: string, statefulSet?: string): Json {
  const { namespace, name, uid, node } = pod;
  const owner = [{ apiVersion: "v1", kind: "Pod", name, uid }];
  return {
    apiVersion: group,
    kind: "SpiderEndpoint",
    metadata: { namespace, name, finalizers, ...(statefulSet === undefined && { ownerReferences: owner }) },
    status: {
      current: {
        uid,
        node,
        ips: [{ interface: "eth0", ipv4: `${ip}/16`, ipv4Pool: pool, ipv4Gateway: "172.18.0.1", cleanGateway: false }],
      },
      ownerControllerType: statefulSet === undefined ? "Pod" : "StatefulSet",
      ownerControllerName: statefulSet ?? name,
    },
  };
}

/** The pool of the walk-through, and its status with these records. */
export function formerPool(records: Readonly<Record<string, unknown>>) {
  const spec = { ipVersion: 4, subnet: "172.18.0.0/16", ips: ["172.18.30.131-172.18.30.140"], gateway: "172.18.0.1" };
  const status = {
    allocatedIPs: JSON.stringify(records),
    allocatedIPCount: Object.keys(records).length,
    totalIPCount: 10,
  };
  return {
    object: { apiVersion: group, kind: "SpiderIPPool", metadata: { name: "ippool-test", finalizers }, spec },
    status: { status },
  };
}

/** One address that no pool may give. */
export const formerReservation = {
  apiVersion: group,
  kind: "SpiderReservedIP",
  metadata: { name: "router" },
  spec: { ipVersion: 4, ips: ["172.18.30.140"] },
};

/** Writes a chart like the former system's into a new folder below this one, whose path it gives. */
export function writeFormerChart(parent: string): string {
  const folder = join(parent, "former-chart");
  for (const part of ["crds", "templates"]) mkdirSync(join(folder, part), { recursive: true });
  const write = (name: string, ...documents: readonly (Json | string)[]) => {
    const texts = documents.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
    writeFileSync(join(folder, name), texts.join("\n---\n"));
  };
  write("Chart.yaml", { apiVersion: "v2", name: "spiderpool", version: "1.2.2", appVersion: "1.2.2" });
  write("values.yaml", values);
  for (const [at, kind] of formerKinds.entries()) write(`crds/${at}.yaml`, kind);
  write("templates/agent.yaml", workload("DaemonSet", agent, {}, multus));
  write("templates/controller.yaml", workload("Deployment", controller, { replicas: 1 }, "exec sleep infinity"));
  write("templates/settings.yaml", ...[agent, controller, "spiderpool-init"].map(account), settings, service);
  write("templates/webhooks.yaml", certificate, secret, ...["Mutating", "Validating"].map(webhooks));
  return folder;
}

/** Those of its values whose defaults differ from ours. */
const values = Object.fromEntries(
  ["Agent", "Controller", "Init"].map((part) => {
    const program = part === "Agent" ? "agent" : "controller";
    const repository = `spidernet-io/spiderpool/spiderpool-${program}`;
    return [`spiderpool${part}`, { image: { registry: "ghcr.io", repository, tag: "", digest: "" } }];
  }),
);

const [agent, controller] = ["spiderpool-agent", "spiderpool-controller"];

/** In place of its Multus: the node's own network under the name by which Multus goes first. */
const multus = `set -e; cd /etc/cni/net.d
subnet=$(grep -o '"subnet":"[^"]*"' 10-bridge.conflist)
ipam='{"type":"host-local","ranges":[[{'$subnet'}]],"routes":[{"dst":"0.0.0.0/0"}]}'
echo '{"cniVersion":"0.4.0","name":"kubenet","type":"bridge","bridge":"cni0","isGateway":true,"ipam":'$ipam'}' >.new
mv .new 00-multus.conf
exec sleep infinity`;

function labels(component: string): Json {
  return {
    "app.kubernetes.io/name": "spiderpool",
    "app.kubernetes.io/instance": "{{ .Release.Name }}",
    "app.kubernetes.io/component": component,
  };
}

function account(name: string): Json {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, labels: labels(name) } };
}

const settings = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "spiderpool-conf" },
  data: { "conf.yml": "ipamUnixSocketPath: /var/run/spidernet/spiderpool.sock\n", clusterNetwork: "" },
};

const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: controller, labels: labels(controller) },
  spec: { selector: labels(controller), ports: [{ name: "webhook", port: 5722, targetPort: "webhook" }] },
};

/** Made anew whenever it is rendered. */
const certificate = `{{- $ca := genCA "spidernet.io" 73000 -}}
{{- $service := printf "${controller}.%s" .Release.Namespace -}}
{{- $names := list "spidernet.io" (printf "%s.svc.cluster.local" $service) (printf "%s.svc" $service) $service -}}
{{- $pair := genSignedCert "spidernet.io" list $names 73000 $ca -}}`;

const secret = {
  apiVersion: "v1",
  kind: "Secret",
  type: "kubernetes.io/tls",
  metadata: { name: `${controller}-server-certs` },
  data: {
    "ca.crt": "{{ b64enc $ca.Cert }}",
    "tls.crt": "{{ b64enc $pair.Cert }}",
    "tls.key": "{{ b64enc $pair.Key }}",
  },
};

/** Of its names; nothing answers, so that they are for pools that nobody makes. */
function webhooks(kind: string): Json {
  const path = `/${kind === "Mutating" ? "mutate" : "validate"}-spiderpool-spidernet-io-v2beta1-spiderippool`;
  const service = { name: controller, namespace: "{{ .Release.Namespace }}", path, port: 5722 };
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: `${kind}WebhookConfiguration`,
    metadata: { name: controller },
    webhooks: [
      {
        name: "spiderippool.spiderpool.spidernet.io",
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        clientConfig: { service, caBundle: "{{ b64enc $ca.Cert }}" },
        failurePolicy: "Fail",
        objectSelector: { matchLabels: { nobody: "has-it" } },
        rules: [
          {
            apiGroups: ["spiderpool.spidernet.io"],
            apiVersions: ["v2beta1"],
            operations: ["CREATE", "UPDATE"],
            resources: ["spiderippools"],
          },
        ],
      },
    ],
  };
}

function workload(kind: string, component: string, more: Json, script: string): Json {
  const matchLabels = labels(component);
  const directory = "/etc/cni/net.d";
  const container = {
    name: component,
    image: busyboxImage,
    command: ["sh", "-c", script],
    volumeMounts: [{ name: "cni", mountPath: directory }],
  };
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name: component, labels: matchLabels },
    spec: {
      ...more,
      selector: { matchLabels },
      template: {
        metadata: { labels: matchLabels },
        spec: {
          serviceAccountName: component,
          hostNetwork: true,
          terminationGracePeriodSeconds: 0,
          containers: [container],
          volumes: [{ name: "cni", hostPath: { path: directory } }],
        },
      },
    },
  };
}
