// `npm run fuzz [-- --frames N --seed S --jobs N]`: damaged frames for the plugin executable.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildShim } from "../shim/build.ts";
import { fuzzShim } from "../shim/fuzz.ts";
import { positive, readFlags } from "./common/flags.ts";

/** The reader gets every frame; a whole process gets one frame in this many. */
const framesPerProcess = 1_000;

const flags = readFlags(
  "npm run fuzz -- [flags]: sends damaged frames to the plugin executable, under gcc's sanitizers.",
  {
    frames: { type: "string", value: "N", help: "how many frames (1000000)" },
    seed: { type: "string", value: "N", help: "seed of the random frames (the current time)" },
    jobs: { type: "string", value: "N", help: "how many processes run at a time (one per processor)" },
  },
);
const frames = positive("frames", flags.frames, 1_000_000);
const seed = positive("seed", flags.seed, Date.now() % 1_000_000_000);
const jobs = positive("jobs", flags.jobs, availableParallelism());
const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
try {
  const harness = await buildShim(folder, "harness");
  console.log(`${frames} frames, seed ${seed}`);
  const share = Math.ceil(frames / jobs);
  const taken = await Promise.all(
    Array.from({ length: jobs }, (_, at) => promisify(execFile)(harness, [String(seed + at), String(share)])),
  );
  const sum = taken.reduce((before, { stdout }) => before + Number(stdout), 0);
  console.log(`the reader: ${sum} taken, all others refused`);
  const processes = Math.ceil(frames / framesPerProcess);
  const faults = await fuzzShim({
    shim: await buildShim(folder, "sanitized"),
    frames: processes,
    seed,
    parallel: jobs,
  });
  console.log(`whole processes: ${processes} answers, ${faults.length} faults`);
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
