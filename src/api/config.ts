import * as v from "valibot";
import { parse } from "yaml";
import { SpiderError } from "#base";

// A key without a value is null in YAML; it counts as absent. `npm run generate` writes the meanings into the reference.
const described = <S extends v.GenericSchema>(schema: S, meaning: string) => v.pipe(schema, v.description(meaning));
const text = (value: string, meaning: string) => described(v.nullish(v.string(), value), meaning);
const flag = (value: boolean, meaning: string) => described(v.nullish(v.boolean(), value), meaning);
const texts = (value: string[], meaning: string) => described(v.nullish(v.array(v.string()), value), meaning);
const whole = v.pipe(v.number(), v.integer(), v.minValue(0));
const number = (value: number, meaning: string) => described(v.nullish(whole, value), meaning);
const list = <S extends v.GenericSchema>(item: S, meaning: string) => described(v.nullish(v.array(item), []), meaning);
/** An object whose fields all have defaults, so that it can be omitted. */
const part = <E extends v.ObjectEntries>(entries: E) =>
  v.nullish(v.object(entries), {} as v.InferInput<v.ObjectSchema<E, undefined>>);

const selector = part({
  matchLabels: v.optional(v.record(v.string(), v.string())),
  matchExpressions: v.optional(
    v.array(v.object({ key: v.string(), operator: v.string(), values: v.optional(v.array(v.string())) })),
  ),
});
/** Meaning of a part that is decoded to check it, but used by nothing. */
const notShipped = "*not shipped*";

const masterNicRule = v.object({
  nodeSelector: selector,
  defaultMaxCount: number(10_000, notShipped),
  includeInterfaces: texts([], notShipped),
  excludeInterfaces: texts([], notShipped),
});

const subEniRule = v.object({
  resourceName: text("spidernet.io/sub-eni", notShipped),
  defaultMaxCount: number(0, notShipped),
  nodeSelector: selector,
});

/** Every key of `conf.yml`, with its default and its meaning. */
export const settingsSchema = v.object({
  ipamUnixSocketPath: v.pipe(
    text("/var/run/spidernet/spiderpool.sock", "Not used by the programs: the agent's flag `--api-socket` counts."),
    // An empty path has always meant the default.
    v.transform((path) => path || "/var/run/spidernet/spiderpool.sock"),
  ),
  enableIPv4: flag(true, "Whether IPv4 pools may be created and are used."),
  enableIPv6: flag(true, "Whether IPv6 pools may be created and are used."),
  enableStatefulSet: flag(
    true,
    "Pods of a StatefulSet [keep their addresses](../guides/keep-addresses.md) when they restart.",
  ),
  enableKubevirtStaticIP: flag(true, "Virtual machines of KubeVirt keep their addresses when they restart."),
  enableCleanOutdatedEndpoint: flag(
    false,
    "The controller deletes SpiderEndpoints whose Pod is gone and whose addresses are no longer claimed for it.",
  ),
  enableSpiderSubnet: flag(
    true,
    "Whether SpiderSubnets are used: pools are linked to the SpiderSubnet of their CIDR, and annotations about subnets count.",
  ),
  enableAutoPoolForApplication: flag(
    true,
    "Applications that name a SpiderSubnet get pools. If it is off, their Pods fail.",
  ),
  enableStrictIPPoolScope: flag(
    false,
    "Pods and Namespaces can name only pools, and applications only subnets, that have `namespaceName` or `namespaceAffinity`.",
  ),
  enableIPConflictDetection: flag(
    false,
    "Before a Pod gets an address, its node [asks on the wire](../guides/address-conflicts.md) whether somebody has it.",
  ),
  enableGatewayDetection: flag(false, "A Pod does not start if its gateway does not answer."),
  enableValidatingResourcesDeletedWebhook: flag(
    false,
    "Whether the deletion of a pool or subnet in use is refused. Otherwise it stays, terminating, until it is empty.",
  ),
  clusterSubnetDefaultFlexibleIPNumber: described(
    v.nullish(whole),
    "How many addresses more than replicas an application's pool has, unless the application says it. Without this key and the next one 1; without application pools 0.",
  ),
  clusterSubnetAutoPoolDefaultRedundantIPNumber: described(
    v.nullish(whole),
    "Another name of the key above, which takes precedence.",
  ),
  coolDown: number(
    30,
    "For so many seconds a released address is handed out last; `spec.coolDown` of a pool takes precedence.",
  ),
  tuneSysctlConfig: flag(true, "The agent sets the node's [kernel settings](node.md)."),
  podResourceInject: part({
    enabled: flag(
      false,
      "Pods get networks and resources by [annotation](../guides/networks.md#without-naming-each-network).",
    ),
    namespacesExclude: texts(
      ["kube-system", "spiderpool", "metallb-system", "istio-system"],
      "Namespaces whose Pods are left alone.",
    ),
    namespacesInclude: texts([], "If not empty: only Pods of these namespaces."),
  }),
  iaasNetworkProvider: part({
    serverUrl: text("", "*not shipped*; the log has a warning if it is set."),
    httpRequestTimeout: text("50s", notShipped),
  }),
  agent: part({
    networkResourcePlugin: part({
      enabled: flag(false, notShipped),
      kubeletRootDir: text(
        "/var/lib/kubelet",
        "The kubelet's root directory, where it tells which devices it gave to which Pod.",
      ),
      devicePluginAffinity: part({ nodeSelector: selector }),
      resourceAdvertisement: part({
        masterNIC: part({ rules: list(masterNicRule, notShipped) }),
        subENI: part({ rules: list(subEniRule, notShipped) }),
      }),
    }),
  }),
});

type Decoded = v.InferOutput<typeof settingsSchema>;

/** The settings of agent and controller: `conf.yml` of the ConfigMap, every value filled in. */
export interface Settings
  extends Omit<Decoded, "clusterSubnetDefaultFlexibleIPNumber" | "clusterSubnetAutoPoolDefaultRedundantIPNumber"> {
  /** How many addresses an application's pool has beyond its replicas, unless the application says. */
  readonly redundantIpNumber: number;
}

interface DecodedSettings {
  readonly settings: Settings;
  /** Warnings by path: unknown keys (a typing mistake, or a newer version's), and settings for features that do not exist. */
  readonly warnings: readonly string[];
}

/**
 * Decodes `conf.yml`. Empty text means all defaults. Throws SpiderError `CONFIG_INVALID` with the path of every wrong value, or
 * with the position of a YAML error.
 */
export function decodeSettings(yaml: string): DecodedSettings {
  const input = readYaml(yaml);
  const result = v.safeParse(settingsSchema, input);
  if (!result.success) {
    const problems = result.issues.map((issue) => `${v.getDotPath(issue) ?? "conf.yml"}: ${issue.message}`);
    throw invalid(problems.join("; "), { problems });
  }
  const { clusterSubnetDefaultFlexibleIPNumber, clusterSubnetAutoPoolDefaultRedundantIPNumber, ...rest } =
    result.output;
  const autoPools = rest.enableSpiderSubnet && rest.enableAutoPoolForApplication;
  const redundant = clusterSubnetDefaultFlexibleIPNumber ?? clusterSubnetAutoPoolDefaultRedundantIPNumber ?? 1;
  return {
    settings: { ...rest, redundantIpNumber: autoPools ? redundant : 0 },
    warnings: [
      ...unknownKeys(input, settingsSchema).map((path) => `unknown key ${path}`),
      ...(rest.iaasNetworkProvider.serverUrl === ""
        ? []
        : ["iaasNetworkProvider.serverUrl has no effect: no IaaS provider is asked"]),
    ],
  };
}

function readYaml(yaml: string): unknown {
  const value = parseYaml(yaml) ?? {};
  // valibot accepts an array as an object without entries.
  if (Array.isArray(value)) throw invalid("it is a list, not keys with values");
  return value;
}

function parseYaml(yaml: string): unknown {
  try {
    return parse(yaml);
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause), {}, cause);
  }
}

function invalid(reason: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown): SpiderError {
  return new SpiderError("CONFIG_INVALID", "conf.yml cannot be used", { details: { reason, ...details }, cause });
}

/** The paths in `value` that are not in the schema. Looks inside objects, arrays and optionals only. */
function unknownKeys(value: unknown, known: v.GenericSchema, path = ""): readonly string[] {
  const inner = unwrap(known);
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) {
    const { item } = inner;
    return item === undefined ? [] : value.flatMap((element, index) => unknownKeys(element, item, `${path}[${index}]`));
  }
  const { entries } = inner;
  if (entries === undefined) return [];
  return Object.entries(value).flatMap(([key, field]) => {
    const at = path === "" ? key : `${path}.${key}`;
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    return entry === undefined ? [at] : unknownKeys(field, entry, at);
  });
}

interface Shape {
  readonly entries?: Readonly<Record<string, v.GenericSchema>>;
  readonly item?: v.GenericSchema;
  readonly wrapped?: v.GenericSchema;
}

function unwrap(known: v.GenericSchema): Shape {
  const shape = known as v.GenericSchema & Shape;
  return shape.wrapped === undefined ? shape : unwrap(shape.wrapped);
}
