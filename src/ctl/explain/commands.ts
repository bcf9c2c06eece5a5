import type { Command } from "commander";
import { SpiderError } from "#base";
import { pods } from "#kube";
import { exitFailed, exitOk, exitUnknown } from "../io.ts";
import { checkNamed, readManifests } from "../manifests.ts";
import { formatItems } from "../output.ts";
import { parsePodName } from "../pod-name.ts";
import type { Context, Run } from "../run.ts";
import { countFileIn, isDeciding } from "./count-file-in.ts";
import { type Diagnosis, diagnose, poolsToRead } from "./diagnose.ts";
import { gatherCluster, gatherFacts, type Target, UsageReader } from "./gather.ts";
import { type PodManifest, podsOfFile } from "./manifest.ts";
import { diagnosisJson, formatDiagnosis } from "./print.ts";

/** `explain pod NAME` and `explain -f FILE`. */
export function addExplainCommand(program: Command, run: Run): void {
  program
    .command("explain")
    .description("explain why a Pod has its addresses, or has none: every pool with its reason, and what to do")
    .argument("[kind]", "pod")
    .argument("[name]", "the Pod, [namespace/]name; it may be gone for less than an hour")
    .option(
      "-f, --filename <file>",
      "manifests of Pods that do not exist yet, or of workloads that create them, a file or a folder; - is standard input",
    )
    .addHelpText(
      "after",
      "\nExit status: 0 the Pod has its networks or would get them, 1 it does not, 2 this cannot be told.",
    )
    .action((kind: string | undefined, name: string | undefined, { filename }: { filename?: string }) =>
      run((context) => explain({ kind, name, filename }, context)),
    );
}

interface Asked {
  readonly kind: string | undefined;
  readonly name: string | undefined;
  readonly filename: string | undefined;
}

/** Prints a diagnosis for each Pod that is asked about; the exit status is that of the worst. */
async function explain(asked: Asked, context: Context): Promise<number> {
  assertAsked(asked);
  const { io, cluster, output } = context;
  const diagnoses: Diagnosis[] = [];
  const targets = await targetsOf(asked, context);
  const everywhere = gatherCluster(cluster, io.signal);
  everywhere.catch(() => {}); // Nobody waits for it where another question fails first.
  const usage = new UsageReader(cluster);
  for (const target of targets) {
    if ("manifest" in target) await sayIfStored(target.manifest, context);
    const stored = await gatherFacts(target, everywhere, cluster, io.signal);
    const facts = "manifest" in target ? countFileIn(stored, target.beside, cluster.namespace) : stored;
    diagnoses.push(diagnose(facts, await usage.read(poolsToRead(facts), io.signal)));
  }
  const items = diagnoses.map(diagnosisJson);
  if (output === "name") io.out(diagnoses.map(({ pod }) => `pod/${pod.split("/").at(-1)}\n`).join(""));
  else io.out(formatItems(items, output) ?? diagnoses.map(formatDiagnosis).join("\n"));
  const verdicts = diagnoses.map(({ verdict }) => verdict);
  return verdicts.includes("fails") ? exitFailed : verdicts.includes("unknown") ? exitUnknown : exitOk;
}

/** Warns if a bare Pod of a manifest exists already: the answer is about a Pod that is yet to be created. */
async function sayIfStored({ owner, metadata: { namespace, name } }: PodManifest, { io, cluster }: Context) {
  if (owner !== undefined || name === "") return;
  if ((await cluster.client.get(pods, { namespace, name }, { signal: io.signal })) === undefined) return;
  io.err(
    `Pod ${namespace}/${name} exists: this is about a new one; explain pod ${name} -n ${namespace} tells of that.\n`,
  );
}

async function targetsOf({ name, filename }: Asked, { io, cluster }: Context): Promise<readonly Target[]> {
  if (filename !== undefined && name === undefined) {
    const placed = await readManifests(io, filename);
    const file = placed.filter(({ manifest }) => isDeciding(manifest));
    checkNamed(file);
    const beside = file.map(({ manifest }) => manifest);
    return podsOfFile(placed, filename, cluster.namespace).map((manifest) => ({ manifest, beside }));
  }
  return [parsePodName(name ?? "", cluster.namespace)];
}

/** Throws OPTIONS_INVALID unless it is either a Pod or a file. */
function assertAsked({ kind, name, filename }: Asked): void {
  const isPod = ["pod", "pods", "po"].includes(kind ?? "") && name !== undefined;
  if (filename === undefined ? isPod : name === undefined) return;
  const found = [kind, name].map((word) => (word === undefined ? "" : ` ${word}`)).join("");
  throw new SpiderError("OPTIONS_INVALID", `explain${found}: give either \`pod NAME\` or \`-f FILE\``);
}
