import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

/** In the run directory: `ADD claim:after` kills the agent there, once. Only looked for where the environment allows it. */
const file = "crash-at";

/** For tests of what is true after a crash: the agent ends where the file says, without a chance to clean up. */
export function crashPoints(runDir: string): (verb: string, point: string) => void {
  const path = join(runDir, file);
  return (verb, point) => {
    if (readIfThere(path) !== `${verb} ${point}`) return;
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
