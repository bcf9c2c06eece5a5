import type { Command } from "commander";
import { formatError } from "#base";
import { exitFailed, exitOk } from "../io.ts";
import { printReleased, release } from "../ip/release.ts";
import { parseAddress } from "../ip/show.ts";
import type { Context, Run } from "../run.ts";
import { confirmed } from "./check.ts";

/** `gc`: releases addresses of Pods that are gone now, rather than at the collector's next round. */
export function addGcCommand(program: Command, run: Run): void {
  program
    .command("gc")
    .description(
      "make the controller release addresses whose Pods are gone, after two looks; keeps those that a node may still use",
    )
    .option("--dry-run", "only say what would happen")
    .action(({ dryRun = false }: { readonly dryRun?: boolean }) => run((context) => collect(dryRun, context)));
}

/** Prints what became of each address; the exit status is 1 where one could not be released. */
async function collect(dryRun: boolean, { io, cluster, output }: Context): Promise<number> {
  const gone = (await confirmed(cluster, { signal: io.signal })).flatMap(({ address }) => address ?? []);
  if (gone.length === 0) io.err("No address is held for a Pod that is gone.\n");
  let status: number = exitOk;
  const released: Awaited<ReturnType<typeof release>>[] = [];
  for (const address of gone) {
    try {
      released.push(await release(parseAddress(address), { force: false, dryRun }, cluster, io));
    } catch (error) {
      status = exitFailed;
      io.err(`error: ${address}: ${formatError(error)}\n`);
    }
  }
  return Math.max(status, printReleased(released, { io, output }));
}
