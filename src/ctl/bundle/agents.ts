import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { labels } from "#api";
import { FairQueue, formatError, isJsonObject, type JsonObject, newest } from "#base";
import { type Pod, pods } from "#kube";
import type { Context } from "../run.ts";
import { isAgent } from "./processes.ts";

/** What the flight records of all nodes may have together. */
const flightCharsMax = 6_000_000;
/** How many agents are asked at a time: each costs a kubectl. */
const slots = 8;
const answerMsMax = 30_000;
/** Of one node, before it is cut. */
const bytesMax = 20_000_000;
/** The bundle has these of every Pod anyway. */
const elsewhere: readonly unknown[] = ["log", "metrics"];

/** Whether the user has kubectl, which knows every way into a Pod of every cluster. */
export function hasKubectl(env: Context["io"]["env"]): boolean {
  return (env["PATH"] ?? "").split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, "kubectl")));
}

/**
 * What the agents of all nodes tell of themselves, each in its own Pod. One that cannot be asked has its error in place of
 * that. Throws if none can.
 */
export async function* agents({ io, cluster }: Context): AsyncGenerator<object> {
  const { signal } = io;
  const found = await Array.fromAsync(cluster.client.listAll(pods, { labelSelector: labels.program, signal }));
  const running = found.filter((pod) => isAgent(pod) && pod.status?.phase === "Running");
  const share = Math.floor(flightCharsMax / Math.max(running.length, 1));
  const queue = new FairQueue({ slots, maxWaiting: Number.MAX_SAFE_INTEGER });
  let failure: unknown;
  let read = 0;
  const asked = running.map(async (pod) => {
    const node = pod.spec?.nodeName;
    try {
      using _slot = await queue.enter("", { signal });
      const facts = await ask(pod, { io, cluster });
      read += 1;
      return facts.map((fact) => ({ node, ...fact, ...bounded(fact, share) }));
    } catch (error) {
      failure ??= error;
      return [{ node, error: said(error) }];
    }
  });
  for (const one of asked) yield* await one;
  if (read === 0 && failure !== undefined) throw failure;
}

/** What kubectl says, where it was it that failed. */
function said(error: unknown): string {
  const stderr = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
  return stderr === "" ? formatError(error) : stderr;
}

function bounded({ answer }: JsonObject, share: number): object {
  return Array.isArray(answer) ? { answer: newest(answer, share, (one) => JSON.stringify(one).length) } : {};
}

async function ask({ metadata }: Pod, { io, cluster }: Pick<Context, "io" | "cluster">) {
  const inPod = ["exec", metadata.name, "--", "spiderpoolctl", "bundle", "--local", "-f", "-"];
  const argv = [...cluster.kubectlFlags, "-n", metadata.namespace ?? "", ...inPod];
  const how = { encoding: "buffer", env: { ...io.env }, maxBuffer: bytesMax, timeout: answerMsMax } as const;
  const { stdout } = await promisify(execFile)("kubectl", argv, { ...how, signal: io.signal });
  const { parts } = JSON.parse(String(gunzipSync(stdout, { maxOutputLength: bytesMax }))) as { parts?: unknown };
  const [part] = Array.isArray(parts) ? parts : [];
  const items: unknown = isJsonObject(part) ? part["items"] : [];
  return (Array.isArray(items) ? items : []).filter(isJsonObject).filter(({ about }) => !elsewhere.includes(about));
}
