import { readChartValues } from "./chart-values.ts";

type Schema = Readonly<Record<string, unknown>>;

const octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const ipv4 = `${octet}(\\.${octet}){3}`;
// The API checks the exact form; the schema only refuses what is clearly not an address.
const ipv6 = "[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){2,7}";
const cidr4 = `${ipv4}/(3[0-2]|[12]?[0-9])`;
const cidr6 = `${ipv6}/(12[0-8]|1[01][0-9]|[1-9]?[0-9])`;
const dnsLabel = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const dnsName = `${dnsLabel}(\\.${dnsLabel})*`;

const text = (pattern: string) => ({ type: ["string", "null"], pattern: `^(${pattern})$` });
const optional = (pattern: string) => text(`|${pattern}`);
const oneOf = (...values: readonly string[]) => ({ enum: [...values, null] });
const integer = (minimum: number, maximum?: number) => ({
  type: ["integer", "null"],
  minimum,
  ...(maximum !== undefined && { maximum }),
});
const listOf = (items: Schema) => ({ type: ["array", "null"], items });
const objects = listOf({ type: "object" });
const port = integer(1, 65_535);
const path = text("/+[^/].*");
const name = text(`${dnsName}`);
const daysText = { type: ["string", "integer", "null"], pattern: "^[1-9][0-9]*$", minimum: 1 };
// A value with a scheme, a tag or a space would make references that nobody can pull.
const registry = "[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._-]+)*/?";
const image: Schema = {
  type: ["object", "null"],
  properties: {
    registry: optional(registry),
    repository: text("[a-z0-9._/-]+"),
    tag: { type: ["string", "number", "null"], pattern: "^([A-Za-z0-9_][A-Za-z0-9._-]*)?$" },
    digest: optional("sha256:[A-Za-z0-9]+"),
    pullPolicy: oneOf("Always", "IfNotPresent", "Never"),
    imagePullSecrets: listOf({ type: "object", required: ["name"], properties: { name: { type: "string" } } }),
  },
};
const labels: Schema = { type: ["object", "null"], additionalProperties: { type: "string" } };
const route: Schema = {
  type: "object",
  required: ["dst", "gw"],
  properties: { dst: text(`${cidr4}|${cidr6}`), gw: text(`${ipv4}|${ipv6}`) },
};

const quantities: Schema = {
  type: ["object", "null"],
  additionalProperties: {
    type: ["string", "number", "null"],
    pattern: "^[0-9]+(\\.[0-9]+)?(m|[kMGTPE]i?|Ki|[eE][0-9]+)?$",
    minimum: 0,
  },
};
const resources: Schema = { type: ["object", "null"], properties: { limits: quantities, requests: quantities } };
const countOrShare: Schema = { type: ["integer", "string", "null"], minimum: 0, pattern: "^[0-9]+%?$" };
const updateStrategy: Schema = {
  type: ["object", "null"],
  properties: {
    type: oneOf("RollingUpdate", "OnDelete"),
    rollingUpdate: {
      type: ["object", "null"],
      properties: { maxUnavailable: countOrShare, maxSurge: countOrShare },
    },
  },
};

/** Restrictions beyond the type of the default, by path or end of path. The first match counts. */
const rules: readonly (readonly [RegExp, Schema])[] = [
  [/^global\.imageRegistryOverride$/, optional(registry)],
  [/^global\.distribution$/, oneOf("", "k3s", "rke2", "k0s", "microk8s")],
  [/^global\.(cniBinHostPath|cniConfHostPath|ipamUNIXSocketHostPath)$|^ovs\.runDir$|\.(kubeletRootDir|binName)$/, path],
  [/^global\.configName$/, name],
  [/^global\.nameOverride$/, optional("[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")],
  [/^global\.clusterDnsDomain$/, text("[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?")],
  // Also a name of Services, which must begin with a letter.
  [/^spiderpool(Agent|Controller|Init)\.name$/, text("[a-z]([-a-z0-9]*[a-z0-9])?")],
  [/\.namespace$/, optional(dnsLabel)],
  [/(priorityClassName|issuerName)$/, optional(dnsName)],
  [/tls\.secretName$/, name],
  [/\.resources$/, resources],
  [/\.updateStrategy$/, updateStrategy],
  [/^global\.ciliumConfigMap$/, text(`${dnsLabel}/${dnsName}`)],
  [/(^|\.)image$/, image],
  [/(Labels|Annotations|\.labels|\.annotations|nodeSelector|matchLabels)$/, labels],
  [/devicePluginAffinity\.nodeSelector$/, { type: ["object", "null"] }],
  [/^coordinator\.mode$/, oneOf("auto", "underlay", "overlay", "disabled")],
  [/^coordinator\.podCIDRType$/, oneOf("auto", "cluster", "calico", "cilium", "none")],
  [/^coordinator\.hijackCIDR$/, listOf({ type: "string", pattern: `^(${cidr4}|${cidr6})$` })],
  [/^coordinator\.policyRoutes$/, listOf(route)],
  [/^coordinator\.vethLinkAddress$/, optional(`${ipv4}|${ipv6}`)],
  [/^coordinator\.vethMTU$/, integer(1, 65_535)],
  [/^coordinator\.name$|IPPoolName$|ipv[46]SubnetName$/, name],
  [/defaultCniCRName$/, optional(dnsName)],
  [/ipv4Subnet$/, optional(cidr4)],
  [/ipv6Subnet$/, optional(cidr6)],
  [/ipv4Gateway$/, optional(ipv4)],
  [/ipv6Gateway$/, optional(ipv6)],
  [/ipv4IPRanges$/, listOf({ type: "string", pattern: `^${ipv4}(-${ipv4})?$` })],
  [/ipv6IPRanges$/, listOf({ type: "string", pattern: `^${ipv6}(-${ipv6})?$` })],
  [/[bB]indAddress$/, optional(`node|${ipv4}|${ipv6}`)],
  [/(httpPort|webhookPort|gopsPort|prometheus\.port)$/, port],
  [/(failureThreshold|periodSeconds|intervalInSecond|certValidityDuration)$/, integer(1)],
  [/^spiderpoolController\.replicas$/, integer(0)],
  [/logLevel$/, oneOf("debug", "info", "warn", "error", "fatal", "panic")],
  [/service\.type$/, oneOf("ClusterIP", "NodePort", "LoadBalancer")],
  [/tls\.method$/, oneOf("auto", "provided", "certmanager")],
  [/(caExpiration|certExpiration)$/, daysText],
  [/minAvailable$/, countOrShare],
  [/provided\.tls(Cert|Key|Ca)$/, optional("[A-Za-z0-9+/=\\s]+")],
  [/serviceMonitor\.interval$|httpRequestTimeout$/, text("([0-9.]+(ms|s|m|h|d))+")],
  [/serverUrl$/, optional("https?://.+")],
  [/extraEnv$/, listOf({ type: "object", required: ["name"] })],
  [/(extraVolumes|extraVolumeMounts|tolerations|rules)$/, objects],
  [/extraArgs$/, listOf({ type: ["string", "number", "boolean"] })],
];

/** values.schema.json: types of the defaults and the rules above. Unknown keys are allowed, and null stands for the default. */
export function valuesSchema(): string {
  const root = { type: "object", properties: {} as Record<string, unknown> };
  for (const { path, default: value } of readChartValues()) {
    const steps = path.split(".");
    let at: { properties: Record<string, unknown> } = root;
    for (const step of steps.slice(0, -1)) {
      at.properties[step] ??= { type: ["object", "null"], properties: {} };
      at = at.properties[step] as typeof at;
    }
    at.properties[steps.at(-1) ?? ""] = rules.find(([pattern]) => pattern.test(path))?.[1] ?? byDefault(value);
  }
  return `${JSON.stringify({ $schema: "http://json-schema.org/draft-07/schema#", ...root }, undefined, 2)}\n`;
}

function byDefault(value: unknown): Schema {
  if (typeof value === "number") return integer(0);
  if (Array.isArray(value)) return listOf({ type: ["string", "number", "object"] });
  if (typeof value === "boolean" || typeof value === "string") return { type: [typeof value, "null"] };
  return { type: ["object", "null"] };
}
