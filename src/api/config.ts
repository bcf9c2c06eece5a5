import * as v from "valibot";
import { parse } from "yaml";
import { SpiderError } from "#base";

// A key without a value is null in YAML; it counts as absent.
const text = (value: string) => v.nullish(v.string(), value);
const flag = (value: boolean) => v.nullish(v.boolean(), value);
const texts = (...value: string[]) => v.nullish(v.array(v.string()), value);
const number = v.pipe(v.number(), v.integer(), v.minValue(0));
const list = <S extends v.GenericSchema>(item: S) => v.nullish(v.array(item), []);
/** An object whose fields all have defaults, and which can therefore be left out. */
const part = <E extends v.ObjectEntries>(entries: E) =>
  v.nullish(v.object(entries), {} as v.InferInput<v.ObjectSchema<E, undefined>>);

const selector = part({
  matchLabels: v.optional(v.record(v.string(), v.string())),
  matchExpressions: v.optional(
    v.array(v.object({ key: v.string(), operator: v.string(), values: v.optional(v.array(v.string())) })),
  ),
});

const masterNicRule = v.object({
  nodeSelector: selector,
  defaultMaxCount: v.nullish(number, 10_000),
  includeInterfaces: texts(),
  excludeInterfaces: texts(),
});

const subEniRule = v.object({
  resourceName: text("spidernet.io/sub-eni"),
  defaultMaxCount: v.nullish(number, 0),
  nodeSelector: selector,
});

const schema = v.object({
  ipamUnixSocketPath: v.pipe(
    text("/var/run/spidernet/spiderpool.sock"),
    // An empty path was always read as the default one.
    v.transform((path) => path || "/var/run/spidernet/spiderpool.sock"),
  ),
  enableIPv4: flag(true),
  enableIPv6: flag(true),
  enableStatefulSet: flag(true),
  enableKubevirtStaticIP: flag(true),
  enableCleanOutdatedEndpoint: flag(false),
  enableSpiderSubnet: flag(true),
  enableAutoPoolForApplication: flag(true),
  // A pool that says nothing about namespaces can then be named from none.
  enableStrictIPPoolScope: flag(false),
  enableIPConflictDetection: flag(false),
  enableGatewayDetection: flag(false),
  enableValidatingResourcesDeletedWebhook: flag(false),
  clusterSubnetDefaultFlexibleIPNumber: v.nullish(number),
  clusterSubnetAutoPoolDefaultRedundantIPNumber: v.nullish(number),
  // Seconds for which an address that was given back is handed out last, of pools that do not say.
  coolDown: v.nullish(number, 30),
  tuneSysctlConfig: flag(true),
  podResourceInject: part({
    enabled: flag(false),
    namespacesExclude: texts("kube-system", "spiderpool", "metallb-system", "istio-system"),
    namespacesInclude: texts(),
  }),
  iaasNetworkProvider: part({ serverUrl: text(""), httpRequestTimeout: text("50s") }),
  agent: part({
    networkResourcePlugin: part({
      enabled: flag(false),
      kubeletRootDir: text("/var/lib/kubelet"),
      devicePluginAffinity: part({ nodeSelector: selector }),
      resourceAdvertisement: part({
        masterNIC: part({ rules: list(masterNicRule) }),
        subENI: part({ rules: list(subEniRule) }),
      }),
    }),
  }),
});

type Decoded = v.InferOutput<typeof schema>;

/** The settings of agent and controller: `conf.yml` of the ConfigMap, every value filled in. */
export interface Settings
  extends Omit<Decoded, "clusterSubnetDefaultFlexibleIPNumber" | "clusterSubnetAutoPoolDefaultRedundantIPNumber"> {
  /** Addresses that an application's pool has above its replicas, where the application does not say. */
  readonly redundantIpNumber: number;
}

export interface DecodedSettings {
  readonly settings: Settings;
  /** Keys that we do not know, by path: a typing mistake, or a newer version's. And those that ask for what is not there. */
  readonly warnings: readonly string[];
}

/**
 * Decodes `conf.yml`. Empty text means all defaults. Throws SpiderError `CONFIG_INVALID`, with every wrong value by its path, or
 * with the place where the YAML is broken.
 */
export function decodeSettings(yaml: string): DecodedSettings {
  const input = readYaml(yaml);
  const result = v.safeParse(schema, input);
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
      ...unknownKeys(input, schema).map((path) => `unknown key ${path}`),
      ...(rest.iaasNetworkProvider.serverUrl === ""
        ? []
        : ["iaasNetworkProvider.serverUrl has no effect: no IaaS provider is asked"]),
    ],
  };
}

function readYaml(yaml: string): unknown {
  const value = parseYaml(yaml) ?? {};
  // valibot takes an array for an object without entries.
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

/** The paths in `value` that `known` has no entry for; schemas other than objects, arrays and optionals know everything. */
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
