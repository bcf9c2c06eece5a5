import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Logger, SpiderError } from "#base";
import { hostNetns, tryLockFile } from "#linux";
import { Manifest } from "./install/manifest.ts";
import { removeNodeRules } from "./node-rules.ts";
import { restoreNodeSysctls } from "./node-sysctls.ts";

const uninstallHelp = `spiderpool-agent uninstall: gives a node back on which no agent runs any more.

Usage: spiderpool-agent uninstall [--state-dir DIR] [--run-dir DIR]

Removes the runtime's network configuration and the plugin executables that agents wrote, so that the runtime uses the
node's former network again, and restores the kernel settings that agents changed. What others have changed since is left and
named. The directories are those of the daemon; the node's own have to be mounted at the same paths.
`;

/** Restores the node's former network configuration and kernel settings. */
export function giveBack(stateDir: string, log: Logger): void {
  const { removed, left } = new Manifest(stateDir).remove();
  const host = hostNetns();
  const settings = restoreNodeSysctls({ host, stateDir });
  const tables = removeNodeRules(host);
  log.info({ removed, settings, tables }, "the node has its former network back");
  if (left.length > 0) log.warn({ left }, "files that others have changed since are left");
}

/** Runs `spiderpool-agent uninstall`. Returns the help text for --help. Throws AGENT_RUNNING if an agent serves the node. */
export function uninstall(argv: readonly string[], log: Logger): string | undefined {
  const text = (fallback: string) => ({ type: "string", default: fallback }) as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      "state-dir": text("/var/lib/spiderpool"),
      "run-dir": text("/run/spiderpool"),
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return uninstallHelp;
  const ownerFile = join(values["run-dir"], "owner");
  using owner = tryLockFile(ownerFile);
  if (owner === undefined) {
    throw new SpiderError(
      "AGENT_RUNNING",
      `an agent serves this node (it holds ${ownerFile}); delete its DaemonSet first`,
    );
  }
  giveBack(values["state-dir"], log);
  return undefined;
}
