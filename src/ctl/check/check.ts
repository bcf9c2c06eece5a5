import type { Command } from "commander";
import { type Clock, formatError, type Signal } from "#base";
import type { KubeClient } from "#kube";
import { exitFailed, exitOk } from "../io.ts";
import { releaseIp } from "../ip/release.ts";
import { formatRows, type Printer } from "../output.ts";
import type { Context, Run } from "../program.ts";
import { type Disagreement, disagreements } from "./compare.ts";
import { observe } from "./observe.ts";

/** Between the two looks: a Pod that starts or ends meanwhile, and a view that is being written, are no fault. */
const apartMs = 3_000;

/** `check`: does what different sources say of addresses agree? */
export function addCheckCommand(program: Command, run: Run): void {
  program
    .command("check")
    .description("compares claims, Pods and the views made of claims; looks twice, some seconds apart")
    .option("--fix", "has addresses released whose Pods are gone; all else repairs itself or needs a decision")
    .action(({ fix = false }: { readonly fix?: boolean }) => run((context) => check(fix, context)));
}

async function check(fix: boolean, context: Context): Promise<number> {
  const { io, cluster, output } = context;
  const found = await confirmed(cluster, { signal: io.signal });
  const text = formatRows(found, printer, output);
  if (text === undefined) io.err(`${printer.nothing}\n`);
  else io.out(text);
  let left = found.length;
  for (const { address, kind } of found) {
    if (!fix || kind !== "claim-without-pod" || address === undefined) continue;
    try {
      // It looks at Pod and node itself once more, and leaves alone what may still be in use.
      if ((await releaseIp({ address, force: false, dryRun: false }, context)) === exitOk) left -= 1;
    } catch (error) {
      io.err(`error: ${address}: ${formatError(error)}\n`);
    }
  }
  return left === 0 ? exitOk : exitFailed;
}

/** What two observations agree on. */
export async function confirmed(
  { client, clock }: { readonly client: KubeClient; readonly clock: Clock },
  o: Signal,
): Promise<readonly Disagreement[]> {
  const first = disagreements(await observe(client, clock, o));
  if (first.length === 0) return [];
  await clock.sleep(apartMs, o);
  const before = new Set(first.map(({ key }) => key));
  return disagreements(await observe(client, clock, o)).filter(({ key }) => before.has(key));
}

const printer: Printer<Disagreement> = {
  columns: [
    { header: "KIND", value: ({ kind }) => kind },
    { header: "OBJECT", value: ({ object }) => object },
    { header: "SAYS", value: ({ one }) => `${one.text} (read ${one.readAt.toISOString()})` },
    { header: "BUT", value: ({ other }) => `${other.text} (read ${other.readAt.toISOString()})` },
  ],
  name: ({ kind, object }) => `${kind}/${object}`,
  json: ({ kind, object, one, other }) => ({ kind, object, one, other }),
  nothing: "All sources agree.",
};
