import type { LabHandle } from "../launch.ts";

/**
 * Resident memory in MB of each process of the program on the node: none, one, or two while one takes over from the other.
 */
export async function rssMb(lab: LabHandle, node: string, program: "agent" | "controller"): Promise<readonly number[]> {
  // A bundle in the lab, the image's executable in a real cluster; written so that the shell, whose command line this is, does
  // not find itself.
  const name = `[${program[0]}]${program.slice(1)}`;
  const pattern = `${name}[.]mjs|spiderpool-${name}.*daemon`;
  const script = `for p in /proc/[0-9]*; do grep -aqE '${pattern}' $p/cmdline 2>/dev/null && grep VmRSS $p/status; done; true`;
  const text = await lab.run({ node, argv: ["sh", "-c", script] });
  return [...text.matchAll(/VmRSS:\s+(\d+)/g)].map(([, kb]) => Number(kb) / 1024);
}
