import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * In the run directory: `ADD claim:after` kills the agent there, once; `ADD claim:after 2` when it comes there for the second
 * time. Only looked for where the environment allows it.
 */
const file = "crash-at";

/** For tests of what is true after a crash: the agent ends where the file says, without a chance to clean up. */
export function crashPoints(runDir: string): (verb: string, point: string) => void {
  const path = join(runDir, file);
  let reached = 0;
  return (verb, point) => {
    const wanted = readIfThere(path);
    const [ofVerb, at, times = "1"] = (wanted ?? "").split(" ");
    if (ofVerb !== verb || at !== point) return;
    reached += 1;
    if (reached < Number(times)) return;
    rmSync(path);
    process.kill(process.pid, "SIGKILL");
  };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
