import type { Command } from "commander";
import { formatError } from "#base";
import { formatIp } from "#ip";
import { keyOf } from "#kube";
import { exitFailed, exitOk } from "../io.ts";
import { printReleased, release } from "../ip/release.ts";
import { parseAddress } from "../ip/show.ts";
import type { Context, Run } from "../run.ts";
import { confirmed } from "./check.ts";
import { observe } from "./observe.ts";

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
  const kept = await keptWithoutPod(cluster, io.signal);
  const gone = (await confirmed(cluster, { signal: io.signal })).flatMap(({ address }) => address ?? []);
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
  for (const address of kept) {
    // Refused as long as its application wants it: that is what it is kept for.
    const one = await release(parseAddress(address), { force: false, dryRun }, cluster, io);
    if (one.outcome === "marked" || one.outcome === "wouldBeMarked") released.push(one);
  }
  if (gone.length + released.length === 0) io.err("No address is held for a Pod that is gone.\n");
  return Math.max(status, printReleased(released, { io, output }));
}

/** Sticky addresses of which no sandbox and no Pod is left. */
async function keptWithoutPod({ client, clock }: Context["cluster"], signal: AbortSignal): Promise<readonly string[]> {
  const { claims, pods } = await observe(client, clock, { signal });
  const names = new Set(pods.items.map(({ metadata }) => keyOf(metadata)));
  return claims.items.flatMap(({ ip, spec: { purpose, node, podNamespace, podName } }) =>
    purpose === "Sticky" && node === undefined && !names.has(`${podNamespace}/${podName}`) ? formatIp(ip) : [],
  );
}
