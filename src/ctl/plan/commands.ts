import type { Command } from "commander";
import { SpiderError } from "#base";
import { exitFailed, exitOk } from "../io.ts";
import { checkNamed, type Manifest, readManifests } from "../manifests.ts";
import type { Context, Run } from "../run.ts";
import { gatherState } from "./gather.ts";
import { planChange } from "./plan.ts";
import { formatPlan, isHarmful } from "./print.ts";

interface Flags {
  readonly filename: readonly string[];
  readonly delete: readonly string[];
}

const many = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `plan -f FILE`: what a change would come to, before anything is sent. */
export function addPlanCommand(program: Command, run: Run): void {
  program
    .command("plan")
    .description(
      "predict the effects of a change without making it: who would lose an address, which Pods could not start, which pools would run dry",
    )
    .option(
      "-f, --filename <file>",
      "objects that would be applied, YAML or JSON, a file or a folder; - is standard input",
      many,
      [],
    )
    .option("--delete <file>", "objects that would be deleted, after that", many, [])
    .action((flags: Flags) => run((context) => plan(flags, context)));
}

async function plan({ filename, delete: deleted }: Flags, context: Context): Promise<number> {
  const { io, cluster, output } = context;
  if (filename.length + deleted.length === 0) {
    throw new SpiderError("OPTIONS_INVALID", "plan: name the manifests of the change with -f, --delete, or both");
  }
  const change = { applied: await read(filename, context), deleted: await read(deleted, context) };
  const state = await gatherState(cluster, io.signal);
  const found = planChange(state, change, { namespace: cluster.namespace });
  io.out(formatPlan(found, output));
  return isHarmful(found) ? exitFailed : exitOk;
}

async function read(files: readonly string[], { io }: Context): Promise<readonly Manifest[]> {
  const lists: (readonly Manifest[])[] = [];
  for (const file of files) {
    const placed = await readManifests(io, file);
    checkNamed(placed);
    lists.push(placed.map(({ manifest }) => manifest));
  }
  return lists.flat();
}
