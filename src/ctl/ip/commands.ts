import type { Command } from "commander";
import type { Run } from "../run.ts";
import { releaseIp } from "./release.ts";
import { showIps } from "./show.ts";

/** `ip show` and `ip release`. */
export function addIpCommands(program: Command, run: Run): void {
  const ip = program.command("ip").description("show or release addresses in use");
  ip.command("show")
    .description("list addresses in use and who has them: all, or those that the flags select")
    .argument("[address...]", "only these addresses")
    .option("--ip <address>", "the same as naming it")
    .option("--pool <name>", "only addresses of this IPPool")
    .option("--node <name>", "only addresses held on this node")
    .option("--pod <name>", "only addresses of this Pod, [namespace/]name")
    .action((addresses: string[], flags: { ip?: string; pool?: string; node?: string; pod?: string }) => {
      const { ip: one, ...selection } = flags;
      const named = one === undefined ? addresses : [...addresses, one];
      return run((context) => showIps({ ...selection, addresses: named }, context));
    });
  ip.command("release")
    .description("make the controller release an address whose Pod is gone")
    .argument("[address]", "the address")
    .option("--ip <address>", "the same as naming it")
    .option("-f, --force", "also where its Pod still exists; the Pod keeps using the address until it is deleted")
    .option("--dry-run", "only say what would happen")
    .action((address: string | undefined, flags: { ip?: string; force?: boolean; dryRun?: boolean }) => {
      const { force = false, dryRun = false } = flags;
      return run((context) => releaseIp({ address: address ?? flags.ip, force, dryRun }, context));
    });
}
