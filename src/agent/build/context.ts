import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeSettings, type Settings } from "#api";
import type { Clock, Logger, Tasks } from "#base";
import type { Family } from "#ip";
import { EventRecorder, TopControllers } from "#kube";
import { hostNetns } from "#linux";
import type { Flights } from "../calls/flights.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { CallMetrics } from "../http/metrics.ts";
import { tuneNodeSysctls } from "../node/node-sysctls.ts";
import type { OvsClients } from "../node/ovs-clients.ts";
import type { AgentOptions } from "../options.ts";
import { Records } from "../sandboxes/records.ts";

/** What the process has before it may act on the node. */
export interface Given {
  readonly options: AgentOptions;
  readonly log: Logger;
  readonly clock: Clock;
  /** The background tasks; they end with the process. */
  readonly tasks: Tasks;
  readonly cluster: Cluster;
  readonly ovsClients: OvsClients;
  readonly flights: Flights;
  readonly metrics: CallMetrics;
}

/** What several parts of the agent share. */
export type Context = ReturnType<typeof createContext>;

/** Reads the settings, opens the node, and sets its sysctls where the settings say so. */
export function createContext(given: Given) {
  const { options, log, clock, cluster } = given;
  const { node, stateDir, runDir } = options;
  const settings = readSettings(options.configPath, log);
  const families: readonly Family[] = [
    ...(settings.enableIPv4 ? [4 as const] : []),
    ...(settings.enableIPv6 ? [6 as const] : []),
  ];
  const host = hostNetns();
  if (settings.tuneSysctlConfig) tuneNodeSysctls({ host, stateDir, families, log });
  return {
    ...given,
    settings,
    families,
    detection: { conflicts: settings.enableIPConflictDetection, gateways: settings.enableGatewayDetection },
    host,
    records: new Records(join(runDir, "sandboxes"), join(stateDir, "sandboxes")),
    events: new EventRecorder({ client: cluster.client, clock, log, component: "spiderpool-agent", host: node }),
    owners: new TopControllers(cluster.client),
  };
}

function readSettings(configPath: string | undefined, log: Logger): Settings {
  const { settings, warnings } = decodeSettings(configPath === undefined ? "" : readFileSync(configPath, "utf8"));
  for (const warning of warnings) log.warn({ configPath, warning }, "a setting has no effect");
  return settings;
}
