import { parseArgs } from "node:util";
import type { SpiderCoordinatorSpec } from "#api";
import { checkCommand, Environment, type LogLevel } from "#base";
import {
  type CollectionOptions,
  type LeaderOptions,
  readCollection,
  readLeader,
  setWithoutEffect,
} from "./environment.ts";

/** The webhook port's certificate: files that somebody else renews, or a Secret that the leader renews. */
type TlsOptions =
  | { readonly kind: "files"; readonly certFile: string; readonly keyFile: string }
  | {
      readonly kind: "secret";
      /** Name of the Secret in the install namespace. */
      readonly secret: string;
      readonly service: string;
      /** Name of both webhook configurations. */
      readonly webhooks: string;
      readonly names: readonly string[];
      readonly lifetimeMs: number;
    };

/** The controller's flags and environment, validated ({@link readOptions}). */
export interface ControllerProgramOptions {
  readonly podName: string;
  /** The install namespace: home of the Lease, the agents and the default network. */
  readonly namespace: string;
  readonly logLevel: LogLevel;
  readonly kubeconfig: string | undefined;
  /** Path of `conf.yml`; undefined: every setting has its default. */
  readonly configPath: string | undefined;
  /** 0: any free port. */
  readonly healthPort: number;
  readonly webhookPort: number;
  /** Undefined: admission is served over plain HTTP. */
  readonly tls: TlsOptions | undefined;
  /** The address on which each port listens. @default all addresses */
  readonly bind: Readonly<Partial<Record<"health" | "webhook" | "metrics", string | undefined>>>;
  /** Set if metrics are switched on. */
  readonly metrics: { readonly port: number; readonly debug: boolean } | undefined;
  /** `name` or `namespace/name` of the cluster's default network; "" if there is none. */
  readonly clusterNetwork: string;
  /** Whether to create it, empty, if it does not exist. Off in the chart, whose init Job does so and whose removal deletes it. */
  readonly createsNetwork: boolean;
  /**
   * The SpiderCoordinator to create if it does not exist; without a spec it gets the chart's default. Undefined: no
   * SpiderCoordinator is created or kept up to date.
   */
  readonly coordinator:
    | {
        readonly name: string;
        readonly spec: SpiderCoordinatorSpec | undefined;
        /** The ConfigMap of Cilium's settings. */
        readonly cilium: { readonly namespace: string; readonly name: string };
      }
    | undefined;
  /** Whether SpiderMultusConfigs are admitted and rendered. */
  readonly multusConfigs: boolean;
  /** `app.kubernetes.io/component` of the agents' Pods. */
  readonly agentComponent: string;
  /** How many addresses a pool's `status.allocatedIPs` lists at most. */
  readonly listedIps: number;
  readonly collection: CollectionOptions;
  readonly leader: LeaderOptions;
  /** Variables that are set and have no effect. */
  readonly withoutEffect: readonly string[];
}

const help = `spiderpool-controller: keeps the views of addresses, renders networks and serves admission; one replica leads.

Usage: spiderpool-controller daemon [flags]

  --kubeconfig FILE         instead of the Pod's service account; also $KUBECONFIG
  --config-path FILE        the settings of agent and controller, conf.yml
  --health-port PORT        /runtime/startup, /runtime/readiness, /runtime/liveness   (5720; also $SPIDERPOOL_HEALTH_PORT)
  --webhook-port PORT       admission and /webhook-health-check                       (5722; also $SPIDERPOOL_WEBHOOK_PORT)
  --tls-server-cert FILE    certificate of the webhook port, PEM; read again when it changes
  --tls-server-key FILE     its key; without files and --tls-secret the port speaks plain HTTP
  --tls-secret NAME         instead of files: a Secret in the install namespace, whose certificate the leader issues and renews
  --tls-service NAME        the Service before the webhook port; with --tls-secret
  --tls-webhooks NAME       the webhook configurations that get the authority; with --tls-secret
  --tls-name NAME           a DNS name or address of the certificate; may be repeated; with --tls-secret
  --tls-lifetime TIME       how long a certificate lives: 90d, 12h, 30m, 60s; with --tls-secret
  --bind-address ADDRESS    address for ports without a variable of their own             (all addresses)
  --help

Environment: SPIDERPOOL_POD_NAME and SPIDERPOOL_POD_NAMESPACE (required), SPIDERPOOL_LOG_LEVEL (info),
MULTUS_CLUSTER_NETWORK (the default network of Pods that name none; Events say so while it is empty),
MULTUS_CLUSTER_NETWORK_CREATED (true: it is created, empty, if it does not exist),
SPIDERPOOL_COORDINATOR_ENABLED (true), SPIDERPOOL_COORDINATOR_DEAFULT_NAME (default; spelled so by the chart),
SPIDERPOOL_COORDINATOR_SPEC (JSON; its spec at creation), SPIDERPOOL_MULTUS_CONFIG_ENABLED (true),
SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME (kube-system/cilium-config; where Cilium's settings are),
SPIDERPOOL_HEALTH_BIND_ADDRESS, SPIDERPOOL_WEBHOOK_BIND_ADDRESS, SPIDERPOOL_METRIC_BIND_ADDRESS (address of each port),
and those for metrics, collection and leader election: docs/reference/controller.md.
`;

/** Reads flags and environment; returns the help text if it was asked for. Throws OPTIONS_INVALID naming every mistake. */
export function readOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ControllerProgramOptions | { readonly print: string } {
  const text = { type: "string" } as const;
  checkCommand(argv, ["daemon"]);
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
      "tls-secret": text,
      "tls-service": text,
      "tls-webhooks": text,
      "tls-name": { type: "string", multiple: true },
      "tls-lifetime": text,
      "bind-address": text,
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return { print: help };
  const environment = new Environment(env);
  const { wrong } = environment;
  const tls = readTls(values, wrong);
  const everywhere = environment.address("--bind-address", values["bind-address"]);
  const bindOf = (port: "HEALTH" | "WEBHOOK" | "METRIC") =>
    environment.address(`SPIDERPOOL_${port}_BIND_ADDRESS`) ?? everywhere;
  const metricsPort = environment.port("SPIDERPOOL_METRIC_HTTP_PORT", 5721);
  const options: ControllerProgramOptions = {
    podName: environment.needed("SPIDERPOOL_POD_NAME"),
    namespace: environment.needed("SPIDERPOOL_POD_NAMESPACE"),
    logLevel: environment.logLevel(),
    kubeconfig: values.kubeconfig ?? env["KUBECONFIG"],
    configPath: values["config-path"],
    healthPort: environment.port("SPIDERPOOL_HEALTH_PORT", 5720, values["health-port"]),
    webhookPort: environment.port("SPIDERPOOL_WEBHOOK_PORT", 5722, values["webhook-port"]),
    tls,
    bind: { health: bindOf("HEALTH"), webhook: bindOf("WEBHOOK"), metrics: bindOf("METRIC") },
    metrics: environment.flag("SPIDERPOOL_ENABLED_METRIC", false)
      ? { port: metricsPort, debug: environment.flag("SPIDERPOOL_ENABLED_DEBUG_METRIC", false) }
      : undefined,
    clusterNetwork: environment.text("MULTUS_CLUSTER_NETWORK"),
    createsNetwork: environment.flag("MULTUS_CLUSTER_NETWORK_CREATED", true),
    coordinator: environment.flag("SPIDERPOOL_COORDINATOR_ENABLED", true)
      ? {
          name: environment.text("SPIDERPOOL_COORDINATOR_DEAFULT_NAME") || "default",
          // Admission validates the spec with the object.
          spec: environment.json("SPIDERPOOL_COORDINATOR_SPEC") as SpiderCoordinatorSpec | undefined,
          cilium: readCilium(environment),
        }
      : undefined,
    multusConfigs: environment.flag("SPIDERPOOL_MULTUS_CONFIG_ENABLED", true),
    agentComponent: environment.text("SPIDERPOOL_AGENT_NAME") || "spiderpool-agent",
    listedIps: environment.integer("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", 1_000, { min: 1, max: 5_000 }),
    collection: readCollection(environment),
    leader: readLeader(environment),
    withoutEffect: setWithoutEffect(environment),
  };
  environment.check();
  return options;
}

/** Adds a name without a namespace to `environment.wrong`. */
function readCilium(environment: Environment): { readonly namespace: string; readonly name: string } {
  const variable = "SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME";
  const text = environment.text(variable) || "kube-system/cilium-config";
  const [, namespace = "", name = ""] = /^([^/]+)\/([^/]+)$/.exec(text) ?? [];
  if (name === "") environment.wrong.push(`${variable} is ${JSON.stringify(text)}, namespace/name is needed`);
  return { namespace, name };
}

const timeUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** With a shorter lifetime the steps of a rotation would overlap. */
const lifetimeMsMin = 5_000;

interface TlsFlags {
  readonly "tls-server-cert"?: string;
  readonly "tls-server-key"?: string;
  readonly "tls-secret"?: string;
  readonly "tls-service"?: string;
  readonly "tls-webhooks"?: string;
  readonly "tls-name"?: readonly string[];
  readonly "tls-lifetime"?: string;
}

/** Adds contradictions to `wrong`. */
function readTls(flags: TlsFlags, wrong: string[]): TlsOptions | undefined {
  const { "tls-server-cert": certFile, "tls-server-key": keyFile, "tls-secret": secret } = flags;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    wrong.push("--tls-server-cert and --tls-server-key need each other");
  }
  if (secret === undefined) {
    return certFile === undefined || keyFile === undefined ? undefined : { kind: "files", certFile, keyFile };
  }
  if (certFile !== undefined) wrong.push("--tls-secret and --tls-server-cert exclude each other");
  const { "tls-service": service, "tls-webhooks": webhooks, "tls-name": names, "tls-lifetime": lifetime } = flags;
  const [, count = "", unit = ""] = /^(\d+)([smhd])$/.exec(lifetime ?? "") ?? [];
  const lifetimeMs = Number(count) * (timeUnits[unit] ?? 0);
  if (lifetimeMs < lifetimeMsMin) {
    wrong.push(
      `--tls-lifetime is ${JSON.stringify(lifetime ?? "")}, needed is a time like 90d, 12h, 30m, 60s, of 5s at least`,
    );
  }
  if (service === undefined || webhooks === undefined || names === undefined) {
    wrong.push("--tls-secret needs --tls-service, --tls-webhooks and --tls-name");
    return undefined;
  }
  return { kind: "secret", secret, service, webhooks, names, lifetimeMs };
}
