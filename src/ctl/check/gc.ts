import type { Command } from "commander";
import { formatError } from "#base";
import { exitFailed, exitOk } from "../io.ts";
import { releaseIp } from "../ip/release.ts";
import type { Context, Run } from "../program.ts";
import { confirmed } from "./check.ts";

/** `gc`: the addresses of Pods that are gone, given back now and not when the collector comes by. */
export function addGcCommand(program: Command, run: Run): void {
  program
    .command("gc")
    .description(
      "make the controller release addresses whose Pods are gone, after two looks; keeps those that a node may still use",
    )
    .option("--dry-run", "only say what would happen")
    .action(({ dryRun = false }: { readonly dryRun?: boolean }) => run((context) => collect(dryRun, context)));
}

async function collect(dryRun: boolean, context: Context): Promise<number> {
  const { io, cluster } = context;
  const gone = (await confirmed(cluster, { signal: io.signal })).flatMap(({ address }) => address ?? []);
  if (gone.length === 0) io.err("No address is held for a Pod that is gone.\n");
  let status: number = exitOk;
  for (const address of gone) {
    try {
      const released = await releaseIp({ address, force: false, dryRun }, context);
      if (released !== exitOk) status = exitFailed;
    } catch (error) {
      status = exitFailed;
      io.err(`error: ${address}: ${formatError(error)}\n`);
    }
  }
  return status;
}
