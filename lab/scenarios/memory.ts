import type { LabHandle } from "../launch.ts";

/** Written so that the shell, whose command line this is, does not find itself. */
const script =
  "for p in /proc/[0-9]*; do grep -q [a]gent.mjs $p/cmdline 2>/dev/null && grep VmRSS $p/status; done; true";

/** Resident memory, in MB, of each agent that runs on the node: none, one, or two while one takes over from the other. */
export async function agentsRssMb(lab: LabHandle, node: string): Promise<readonly number[]> {
  const text = await lab.run({ node, argv: ["sh", "-c", script] });
  return [...text.matchAll(/VmRSS:\s+(\d+)/g)].map(([, kb]) => Number(kb) / 1024);
}
