import type { LabHandle } from "../../lab/launch.ts";
import { managementGateway } from "../../lab/topology/index.ts";

/** Files beside the API server: the rules of the proxy, and a line of JSON for each fault that it made. */
export const faultRules = "/run/cluster/faults.json";
export const faultLog = "/run/cluster/faults.log";
export const faultPort = 6_444;

/** What goes wrong between the product's programs and the API server. */
export interface ApiFaults {
  /** How long each request waits before the server gets it. @default 0 */
  readonly latencyMs?: number;
  /** Each Nth request that is no watch is answered with 500, and the server does not get it. */
  readonly failEvery?: number;
  /** The server executes each Nth create, and its answer is lost with the connection. */
  readonly loseEvery?: number;
  /** The age at which watches are cut. */
  readonly cutWatchesAfterMs?: number;
  /** Watches become silent, but stay open. */
  readonly silenceWatches?: boolean;
}

/** A fault that the proxy made, according to its log. */
export interface MadeFault {
  readonly kind: "failed" | "lost" | "cut" | "silenced";
  readonly method: string;
  readonly url: string;
}

/** Helm's flags with which agents and controller reach the API server through the proxy. */
export const faultFlags: readonly string[] = ["spiderpoolAgent", "spiderpoolController"].flatMap((part) =>
  Object.entries({ KUBERNETES_SERVICE_HOST: managementGateway, KUBERNETES_SERVICE_PORT: String(faultPort) }).flatMap(
    ([name, value], index) => [
      ...["--set", `${part}.extraEnv[${index}].name=${name}`],
      ...["--set-string", `${part}.extraEnv[${index}].value=${value}`],
    ],
  ),
);

/** Sets the faults that are made from the next request on. */
export async function makeFaults(cluster: LabHandle, faults: ApiFaults): Promise<void> {
  const script = `cat >${faultRules}.new && mv ${faultRules}.new ${faultRules}`;
  await cluster.run({ argv: ["sh", "-c", script], input: JSON.stringify(faults) });
}

/** The faults that were made since the cluster's start. */
export async function madeFaults(cluster: LabHandle): Promise<readonly MadeFault[]> {
  const text = await cluster.run({ argv: ["sh", "-c", `cat ${faultLog} 2>/dev/null || true`] });
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}
