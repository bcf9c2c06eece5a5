import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import type { Command } from "commander";
import {
  labels,
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderEndpoints,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { formatError, productVersion, SpiderError, systemClock } from "#base";
import { daemonSets, deployments, events, type KubeObject, nodes, type Pod, pods, type Resource } from "#kube";
import { agentSocket } from "../agent.ts";
import { exitFailed, exitOk } from "../io.ts";
import { isOutputFormat } from "../output.ts";
import type { Context, Run } from "../run.ts";
import { agents, hasKubectl } from "./agents.ts";
import { agentFacts } from "./node.ts";
import { type Part, partOf } from "./part.ts";
import { isAgent, logs, metrics } from "./processes.ts";

/** Limit of the text before compression, so that the file is smaller. */
const bytesMax = 20_000_000;
const defaultFile = "spiderpool-bundle.json.gz";

/** Which objects of a kind. */
interface Selectors {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** The objects that are collected, the most important first; those that no longer fit are counted. Secrets are never read. */
const collected: readonly ({ readonly resource: Resource<KubeObject> } & Selectors)[] = [
  ...[spiderCoordinators, spiderMultusConfigs, networkAttachmentDefinitions].map((resource) => ({ resource })),
  ...[daemonSets, deployments, pods].map((resource) => ({ resource, labelSelector: labels.program })),
  // Who asks for help often has a Pod that does not start: its annotations say what it wants.
  { resource: pods, fieldSelector: "status.phase=Pending" },
  ...[spiderIPPools, spiderSubnets, spiderReservedIPs, nodes].map((resource) => ({ resource })),
];
/** Those of which there may be very many, and that come last. */
const many: readonly Resource<KubeObject>[] = [events, spiderIPAddresses, spiderEndpoints];

/** `bundle`: the state of a cluster and of this node's agent in one file for support, without secrets. */
export function addBundleCommand(program: Command, run: Run): void {
  program
    .command("bundle")
    .description(
      "write what support needs into one file, without secrets: gzipped JSON, at most 20 MB; objects of the cluster, logs and metrics of our Pods, and what the agents tell of themselves (which takes kubectl, and the right to execute in their Pods)",
    )
    .option(
      "-f, --filename <file>",
      `the file to write, - for stdout; -o does the same here (default: "${defaultFile}")`,
    )
    .option(
      "--local",
      "only what this node's agent tells: status, doctor, faults, flight records, log, metrics; needs no API server",
    )
    .option("--socket <path>", "the agent's socket", agentSocket)
    .action((flags: BundleFlags, command: Command) =>
      run((context) => bundle(fileOf(flags.filename, command), flags, context), { formats: false }),
    );
}

interface BundleFlags {
  readonly filename?: string;
  readonly local?: boolean;
  readonly socket: string;
}

/** The file given as `-f` or as `-o`, which is a format elsewhere. Throws OPTIONS_INVALID if it is a format here. */
function fileOf(filename: string | undefined, command: Command): string {
  const isGiven = command.parent?.getOptionValueSource("output") === "cli";
  const output = isGiven ? String(command.parent?.getOptionValue("output")) : undefined;
  if (output !== undefined && (filename !== undefined || isOutputFormat(output))) {
    throw new SpiderError(
      "OPTIONS_INVALID",
      `bundle -o ${output}: a bundle is gzipped JSON and nothing else; name the file to write, once, with -f FILE`,
    );
  }
  return filename ?? output ?? defaultFile;
}

async function bundle(filename: string, { local = false, socket }: BundleFlags, context: Context): Promise<number> {
  const { io } = context;
  const parts: Part[] = [];
  let left = bytesMax;
  const isOnNode = local || existsSync(socket);
  const sources = [
    ...(isOnNode ? [{ kind: "Agent", read: () => agentFacts(socket, io.signal) }] : []),
    ...(local ? [] : clusterSources(context)),
  ];
  for (const { kind, read } of sources) {
    const part = await partOf(kind, read(), { left, signal: io.signal });
    left -= part.bytes;
    parts.push(part);
  }
  const [first] = parts;
  if (parts.every(({ error }) => error !== undefined)) {
    throw new SpiderError("BUNDLE_EMPTY", `nothing could be read, and no file was written: ${first?.error}`);
  }
  const body = parts.map(({ kind, items, leftOut, error }) => ({ kind, items, leftOut, error }));
  const packed = gzipSync(JSON.stringify({ format: 1, at: systemClock.wall(), version: productVersion, parts: body }));
  try {
    await writeFile(filename === "-" ? "/dev/stdout" : filename, packed, { mode: 0o600 });
  } catch (error) {
    // In a Pod of ours all files are read-only.
    const advice = "name another file with -f FILE, or - for stdout";
    throw new SpiderError("OPTIONS_INVALID", `the bundle cannot be written: ${formatError(error)}; ${advice}`);
  }
  for (const { kind, leftOut, error } of parts) {
    if (leftOut > 0) io.err(`${leftOut} of ${kind} were left out: the file would be too large\n`);
    if (error !== undefined) io.err(`${kind} could not be read: ${error}\n`);
  }
  if (!local && !hasKubectl(io.env)) io.err(hintOfNodes(parts, isOnNode));
  const count = parts.reduce((sum, { items }) => sum + items.length, 0);
  const say = filename === "-" ? io.err : io.out;
  say(`${filename}: ${count} objects, ${packed.length} bytes; look at it before you pass it on\n`);
  return parts.some(({ error }) => error !== undefined) ? exitFailed : exitOk;
}

interface Source {
  readonly kind: string;
  readonly read: () => AsyncIterable<unknown>;
}

function clusterSources(context: Context): readonly Source[] {
  const { signal, env } = context.io;
  const { client } = context.cluster;
  const objects = ({ resource, ...selectors }: (typeof collected)[number]) => ({
    kind: resource.kind,
    read: () => client.listAll(resource, { signal, ...selectors }),
  });
  return [
    ...collected.map(objects),
    { kind: "Log", read: () => logs(client, signal) },
    { kind: "Metrics", read: () => metrics(client, signal) },
    ...(hasKubectl(env) ? [{ kind: "Agents", read: () => agents(context) }] : []),
    ...many.map((resource) => objects({ resource })),
  ];
}

/** How to have what the agents of other nodes tell, where there is no kubectl here. "" where there are none. */
function hintOfNodes(parts: readonly Part[], isOnNode: boolean): string {
  const pod = parts.flatMap(({ kind, items }) => (kind === "Pod" ? (items as readonly Pod[]) : [])).find(isAgent);
  if (pod === undefined) return "";
  const { namespace, name } = pod.metadata;
  const command = `kubectl -n ${namespace} exec ${name} -- spiderpoolctl bundle --local -f - > ${pod.spec?.nodeName}.json.gz`;
  return `Flight records and doctor of ${isOnNode ? "other nodes are" : "nodes are"} not in it, because there is no kubectl here; for each that matters: ${command}\n`;
}
