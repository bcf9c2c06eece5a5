import { rmSync } from "node:fs";
import { join } from "node:path";
import { readIfThere } from "#base";

/**
 * A file in the run directory. `ADD claim:after` kills the agent at that point, once; `ADD claim:after 2` when it gets there for
 * the second time; `ADD :undo 3` at the third step of undoing, of whatever stage. It is read only if the environment allows it.
 */
const file = "crash-at";

/** For tests of crashes: ends the agent at the point in the file, without a chance to clean up. */
export function crashPoints(runDir: string): (verb: string, point: string) => void {
  const path = join(runDir, file);
  let reached = 0;
  return (verb, point) => {
    const [ofVerb, at, times = "1"] = String(readIfThere(path) ?? "")
      .trim()
      .split(" ");
    if (ofVerb !== verb || at === undefined || !point.endsWith(at)) return;
    reached += 1;
    if (reached < Number(times)) return;
    rmSync(path);
    process.kill(process.pid, "SIGKILL");
  };
}
