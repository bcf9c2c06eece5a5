import { writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import type { Command } from "commander";
import {
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderEndpoints,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { formatError, SpiderError } from "#base";
import { daemonSets, deployments, events, type KubeClient, type KubeObject, nodes, pods, type Resource } from "#kube";
import { exitFailed, exitOk } from "../io.ts";
import { isOutputFormat } from "../output.ts";
import type { Context, Run } from "../run.ts";
import { redact } from "./redact.ts";

/** Limit of the text before compression, so that the file is smaller. */
const bytesMax = 20_000_000;
const defaultFile = "spiderpool-bundle.json.gz";
const ourWorkloads = "app.kubernetes.io/name=spiderpool";

/** Which objects of a kind. */
interface Selectors {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** What is collected, the most important first; objects that no longer fit are counted. Secrets are never read. */
const collected: readonly ({ readonly resource: Resource<KubeObject> } & Selectors)[] = [
  ...[spiderCoordinators, spiderMultusConfigs, networkAttachmentDefinitions].map((resource) => ({ resource })),
  ...[daemonSets, deployments, pods].map((resource) => ({ resource, labelSelector: ourWorkloads })),
  // Who asks for help often has a Pod that does not start: its annotations say what it wants.
  { resource: pods, fieldSelector: "status.phase=Pending" },
  ...[spiderIPPools, spiderSubnets, spiderReservedIPs, nodes].map((resource) => ({ resource })),
  ...[events, spiderIPAddresses, spiderEndpoints].map((resource) => ({ resource })),
];

/** `bundle`: the state of a cluster in one file for support, without secrets. */
export function addBundleCommand(program: Command, run: Run): void {
  program
    .command("bundle")
    .description(
      "write the state of the cluster that support needs into one file, without secrets: gzipped JSON, at most 20 MB",
    )
    .option("-f, --filename <file>", `the file to write; -o does the same here (default: "${defaultFile}")`)
    .action((flags: { readonly filename?: string }, command: Command) =>
      run((context) => bundle(fileOf(flags.filename, command), context), { formats: false }),
    );
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

async function bundle(filename: string, { io, cluster }: Context): Promise<number> {
  const parts: Part[] = [];
  let left = bytesMax;
  for (const { resource, ...selectors } of collected) {
    const part = await collect(cluster.client, resource, { selectors, left, signal: io.signal });
    left -= part.bytes;
    parts.push(part);
  }
  const [first] = parts;
  if (parts.every(({ error }) => error !== undefined)) {
    throw new SpiderError("BUNDLE_EMPTY", `nothing could be read, and no file was written: ${first?.error}`);
  }
  const body = parts.map(({ kind, items, leftOut, error }) => ({ kind, items, leftOut, error }));
  const packed = gzipSync(JSON.stringify({ format: 1, at: cluster.clock.wall(), parts: body }));
  // Do not collect unrelated data.
  await writeFile(filename, packed, { mode: 0o600 });
  for (const { kind, leftOut, error } of parts) {
    if (leftOut > 0) io.err(`${leftOut} of ${kind} were left out: the file would be too large\n`);
    if (error !== undefined) io.err(`${kind} could not be read: ${error}\n`);
  }
  const count = parts.reduce((sum, { items }) => sum + items.length, 0);
  io.out(`${filename}: ${count} objects, ${packed.length} bytes; look at it before you pass it on\n`);
  return parts.some(({ error }) => error !== undefined) ? exitFailed : exitOk;
}

interface Part {
  readonly kind: string;
  readonly items: readonly unknown[];
  readonly leftOut: number;
  readonly bytes: number;
  readonly error?: string | undefined;
}

async function collect(
  client: KubeClient,
  resource: Resource<KubeObject>,
  options: { readonly selectors: Selectors; readonly left: number; readonly signal: AbortSignal },
): Promise<Part> {
  const { selectors, left, signal } = options;
  const { kind } = resource;
  const items: unknown[] = [];
  let [bytes, leftOut] = [0, 0];
  try {
    for await (const object of client.listAll(resource, { signal, ...selectors })) {
      const shown = redact(object);
      // One for the comma, and some for the frame around the items.
      const size = Buffer.byteLength(JSON.stringify(shown)) + 1;
      if (bytes + size > left - 10_000) leftOut += 1;
      else {
        bytes += size;
        items.push(shown);
      }
    }
    return { kind, items, leftOut, bytes };
  } catch (error) {
    signal.throwIfAborted();
    return { kind, items, leftOut, bytes, error: formatError(error) };
  }
}
