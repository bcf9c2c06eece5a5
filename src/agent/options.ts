import { parseArgs } from "node:util";
import { checkCommand, Environment, type LogLevel } from "#base";
import { executableNames } from "./node/install/executables.ts";

/** The agent's flags and environment, validated ({@link readOptions}). */
export interface AgentOptions {
  readonly node: string;
  /** The install namespace. */
  readonly namespace: string;
  /** `name` or `namespace/name` of the cluster's default network; "" if there is none. */
  readonly clusterNetwork: string;
  readonly kubeconfig: string | undefined;
  /** conf.yml; undefined: every setting has its default. */
  readonly configPath: string | undefined;
  readonly logLevel: LogLevel;
  /** Socket of the shims. */
  readonly cniSocket: string;
  /** Socket of the HTTP API. */
  readonly apiSocket: string;
  /** The folder for sandbox records, which survive reboots. */
  readonly stateDir: string;
  /** The folder for intents, which a reboot removes. */
  readonly runDir: string;
  /** Where the runtime looks for plugins and configurations; undefined: nothing is installed. */
  readonly cniBinDir: string | undefined;
  readonly cniConfDir: string | undefined;
  readonly shim: string | undefined;
  /** Under which names the shim is installed. */
  readonly cniPlugins: readonly string[];
  /** A folder of further plugins, for nodes that have none of their names; undefined: none are installed. */
  readonly referencePlugins: string | undefined;
  /** Port of the probes, on the loopback addresses only; undefined: they are not served. */
  readonly healthPort: number | undefined;
  /** Port of the metrics; undefined: they are not served. */
  readonly metricPort: number | undefined;
  /** Where they are served. @default all addresses */
  readonly metricAddress: string | undefined;
  /** Plugins may give back addresses that they found in use. */
  readonly releaseConflictIps: boolean;
  /** The agents' DaemonSet, in the install namespace. If undefined, nothing shows that the release is being removed. */
  readonly daemonSet: string | undefined;
  readonly ovsdb: string;
  /** How often the node is checked for contradictions. Audits of claims are one and a half times as far apart. */
  readonly lookEveryMs: number;
  /** How long an ADD waits for the pool of its Pod's application. */
  readonly autoPoolWaitMs: number;
  /** For tests of crashes: see crash-points.ts. */
  readonly crashPoints: boolean;
  /** Variables that are set and have no effect. */
  readonly withoutEffect: readonly string[];
}

/** Variables of former versions that have no effect any more: accepted, with a warning if set. */
const variablesWithoutEffect: readonly string[] = [
  "SPIDERPOOL_ENABLED_DEBUG_METRIC",
  "SPIDERPOOL_ENABLED_RDMA_METRIC",
  "SPIDERPOOL_GOPS_LISTEN_PORT",
  "SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS",
  "SPIDERPOOL_PYROSCOPE_PUSH_SERVER_ADDRESS",
  "SPIDERPOOL_UPDATE_CR_MAX_RETRIES",
  "SPIDERPOOL_WORKLOADENDPOINT_MAX_HISTORY_RECORDS",
];

const help = `spiderpool-agent: serves the CNI calls of one node.

Usage: spiderpool-agent daemon [flags]
       spiderpool-agent uninstall --help

  --config-path FILE   settings (conf.yml of the chart); without it all have their defaults
  --kubeconfig FILE    instead of the Pod's service account; also $KUBECONFIG
  --cni-socket PATH    socket of the plugin executables   (/var/run/spidernet/cni.sock)
  --api-socket PATH    socket of the HTTP API             (/var/run/spidernet/spiderpool.sock)
  --state-dir DIR      sandbox records                    (/var/lib/spiderpool)
  --run-dir DIR        hints of the running boot, lock    (/run/spiderpool)
  --cni-bin-dir DIR    install the plugin executables here, made of --shim; the same path on the host
  --cni-conf-dir DIR   install the network configuration here; the same path on the host
  --shim FILE          the plugin executable
  --cni-plugins LIST   names of the plugins that the agent runs itself (${executableNames.join(",")})
  --reference-plugins DIR  install these, too, unless the node has one of that name
  --daemon-set NAME    restore the node's former network when the agent ends because this DaemonSet is deleted
  --ovsdb ENDPOINT     Open vSwitch database              (unix:/var/run/openvswitch/db.sock)
  --help

Environment:
  SPIDERPOOL_NODE_NAME, SPIDERPOOL_POD_NAMESPACE  required
  SPIDERPOOL_LOG_LEVEL                            (info)
  MULTUS_CLUSTER_NETWORK                          the default network of Pods that name none
  SPIDERPOOL_HEALTH_PORT                          of /runtime/startup, /runtime/readiness and /runtime/liveness on 127.0.0.1
                                                  and ::1; without it they are not served
  SPIDERPOOL_ENABLED_METRIC                       serve metrics (false)
  SPIDERPOOL_METRIC_HTTP_PORT                     their port (5711)
  SPIDERPOOL_METRIC_BIND_ADDRESS                  their address (all addresses)
  SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS         DELETE /v1/ipam/ips may release addresses that were found in use (true)
  SPIDERPOOL_LOOK_SECONDS                         how often the node is checked for contradictions; what two checks in a
                                                  row find is repaired (20)
  SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND (2) times SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES (25)
                                                  how many seconds an ADD waits for the pool of its Pod's application,
                                                  within its 30 s
Those of former versions that have no effect any more are named in the log if they are set.
`;

/** Reads flags and environment. Returns a text to print if help was asked for. Throws OPTIONS_INVALID naming each mistake. */
export function readOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentOptions | { readonly print: string } {
  const optional = { type: "string" } as const;
  const flag = <const T extends string>(fallback: T) => ({ type: "string", default: fallback }) as const;
  checkCommand(argv, ["daemon", "uninstall"]);
  const { values } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      kubeconfig: optional,
      "config-path": optional,
      "cni-socket": flag("/var/run/spidernet/cni.sock"),
      "api-socket": flag("/var/run/spidernet/spiderpool.sock"),
      "state-dir": flag("/var/lib/spiderpool"),
      "run-dir": flag("/run/spiderpool"),
      "cni-bin-dir": optional,
      "cni-conf-dir": optional,
      shim: optional,
      "cni-plugins": flag(executableNames.join(",")),
      "reference-plugins": optional,
      "daemon-set": optional,
      ovsdb: flag("unix:/var/run/openvswitch/db.sock"),
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return { print: help };
  const environment = new Environment(env);
  const { wrong } = environment;
  const cniPlugins = values["cni-plugins"].split(",").flatMap((name) => name.trim() || []);
  const badName = cniPlugins.find((name) => !/^[a-z0-9][a-z0-9_-]*$/.test(name));
  if (badName !== undefined) {
    wrong.push(`--cni-plugins has ${JSON.stringify(badName)}, names are of lower-case letters, digits, _ and -`);
  }
  if (values["cni-bin-dir"] !== undefined && values.shim === undefined) wrong.push("--cni-bin-dir needs --shim");
  const metricPort = environment.port("SPIDERPOOL_METRIC_HTTP_PORT", 5711);
  const options: AgentOptions = {
    node: environment.needed("SPIDERPOOL_NODE_NAME"),
    namespace: environment.needed("SPIDERPOOL_POD_NAMESPACE"),
    logLevel: environment.logLevel(),
    clusterNetwork: environment.text("MULTUS_CLUSTER_NETWORK"),
    kubeconfig: values.kubeconfig ?? env["KUBECONFIG"],
    configPath: values["config-path"],
    cniSocket: values["cni-socket"],
    apiSocket: values["api-socket"],
    stateDir: values["state-dir"],
    runDir: values["run-dir"],
    cniBinDir: values["cni-bin-dir"],
    cniConfDir: values["cni-conf-dir"],
    shim: values.shim,
    cniPlugins,
    referencePlugins: values["reference-plugins"],
    metricPort: environment.flag("SPIDERPOOL_ENABLED_METRIC", false) ? metricPort : undefined,
    metricAddress: environment.address("SPIDERPOOL_METRIC_BIND_ADDRESS"),
    releaseConflictIps: environment.flag("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS", true),
    healthPort: environment.port("SPIDERPOOL_HEALTH_PORT", undefined),
    daemonSet: values["daemon-set"],
    ovsdb: values.ovsdb,
    crashPoints: environment.flag("SPIDERPOOL_CRASH_POINTS", false),
    withoutEffect: environment.set(variablesWithoutEffect),
    lookEveryMs: environment.integer("SPIDERPOOL_LOOK_SECONDS", 20, { min: 1, max: 20 }) * 1_000,
    autoPoolWaitMs:
      environment.integer("SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND", 2, { min: 1, max: 60 }) *
      environment.integer("SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES", 25, { min: 1, max: 1_000 }) *
      1_000,
  };
  environment.check();
  return options;
}
