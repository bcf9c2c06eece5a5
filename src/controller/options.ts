import { parseArgs } from "node:util";
import type { SpiderCoordinatorSpec } from "#api";
import { type LogLevel, logLevels, SpiderError } from "#base";

export interface ControllerProgramOptions {
  readonly podName: string;
  /** The install namespace: the Lease and the default network live in it. */
  readonly namespace: string;
  readonly logLevel: LogLevel;
  readonly kubeconfig: string | undefined;
  /** `conf.yml`; undefined: every setting has its default. */
  readonly configPath: string | undefined;
  /** 0: any free one. */
  readonly healthPort: number;
  readonly webhookPort: number;
  /** Undefined: admission is served over plain HTTP. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** `name` or `namespace/name` of the cluster's default network; "" where there is none. */
  readonly clusterNetwork: string;
  /** The SpiderCoordinator that is created where it is absent; without a spec, as the chart does by default. Undefined: none is, and none is kept. */
  readonly coordinator: { readonly name: string; readonly spec: SpiderCoordinatorSpec | undefined } | undefined;
  /** Whether SpiderMultusConfigs are admitted and rendered. */
  readonly multusConfigs: boolean;
}

const help = `spiderpool-controller: keeps the cluster's views, networks and settings; one replica leads.

Usage: spiderpool-controller daemon [flags]

  --kubeconfig FILE         instead of the Pod's service account; also $KUBECONFIG
  --config-path FILE        the settings of agent and controller, conf.yml
  --health-port PORT        /runtime/startup, /runtime/readiness, /runtime/liveness   (5720; also $SPIDERPOOL_HEALTH_PORT)
  --webhook-port PORT       admission and /webhook-health-check                       (5722; also $SPIDERPOOL_WEBHOOK_PORT)
  --tls-server-cert FILE    certificate of the webhook port, PEM; read again when it changes
  --tls-server-key FILE     its key; without the two the port speaks plain HTTP
  --help

Environment: SPIDERPOOL_POD_NAME and SPIDERPOOL_POD_NAMESPACE (required), SPIDERPOOL_LOG_LEVEL (info),
MULTUS_CLUSTER_NETWORK (the default network of Pods that name none; created empty where it is absent),
SPIDERPOOL_COORDINATOR_ENABLED (true), SPIDERPOOL_COORDINATOR_DEAFULT_NAME (default; spelled so by the chart),
SPIDERPOOL_COORDINATOR_SPEC (JSON; the spec that it is created with), SPIDERPOOL_MULTUS_CONFIG_ENABLED (true).
`;

/** Reads flags and environment. Returns text to print instead where help was asked for. Throws OPTIONS_INVALID naming each. */
export function readOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ControllerProgramOptions | { readonly print: string } {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      kubeconfig: text,
      "config-path": text,
      "health-port": text,
      "webhook-port": text,
      "tls-server-cert": text,
      "tls-server-key": text,
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return { print: help };
  const variable = (name: string) => (env[name] ?? "").trim();
  const wrong: string[] = [];
  const needed = (name: string) => {
    const value = variable(name);
    if (value === "") wrong.push(`${name} is not set`);
    return value;
  };
  const port = (flag: string | undefined, name: string, otherwise: number) => {
    const value = flag ?? variable(name);
    const number = value === "" ? otherwise : Number(value);
    if (Number.isInteger(number) && number >= 0 && number < 65_536) return number;
    wrong.push(`${name} or its flag is ${JSON.stringify(value)}, a port is needed`);
    return otherwise;
  };
  const flag = (name: string) => {
    const value = variable(name) || "true";
    if (value !== "true" && value !== "false")
      wrong.push(`${name} is ${JSON.stringify(value)}, true or false is needed`);
    return value === "true";
  };
  const json = (name: string): object | undefined => {
    const value = variable(name);
    if (value === "") return undefined;
    const parsed = parseOrUndefined(value);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed;
    wrong.push(`${name} is ${JSON.stringify(value)}, a JSON object is needed`);
    return undefined;
  };
  const level = variable("SPIDERPOOL_LOG_LEVEL") || "info";
  const logLevel = logLevels.find((one) => one === level);
  if (logLevel === undefined) {
    wrong.push(`SPIDERPOOL_LOG_LEVEL is ${JSON.stringify(level)}, allowed are ${logLevels.join(", ")}`);
  }
  const { "tls-server-cert": certFile, "tls-server-key": keyFile } = values;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    wrong.push("--tls-server-cert and --tls-server-key need each other");
  }
  const options = {
    podName: needed("SPIDERPOOL_POD_NAME"),
    namespace: needed("SPIDERPOOL_POD_NAMESPACE"),
    logLevel: logLevel ?? "info",
    kubeconfig: values.kubeconfig ?? env["KUBECONFIG"],
    configPath: values["config-path"],
    healthPort: port(values["health-port"], "SPIDERPOOL_HEALTH_PORT", 5720),
    webhookPort: port(values["webhook-port"], "SPIDERPOOL_WEBHOOK_PORT", 5722),
    tls: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : undefined,
    clusterNetwork: variable("MULTUS_CLUSTER_NETWORK"),
    coordinator: flag("SPIDERPOOL_COORDINATOR_ENABLED")
      ? {
          name: variable("SPIDERPOOL_COORDINATOR_DEAFULT_NAME") || "default",
          // Whoever judges the object judges its spec, too.
          spec: json("SPIDERPOOL_COORDINATOR_SPEC") as SpiderCoordinatorSpec | undefined,
        }
      : undefined,
    multusConfigs: flag("SPIDERPOOL_MULTUS_CONFIG_ENABLED"),
  };
  if (wrong.length > 0) throw new SpiderError("OPTIONS_INVALID", `cannot start: ${wrong.join("; ")}`);
  return options;
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
