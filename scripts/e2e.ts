// `npm run e2e [-- WORD …]`: suites on a real Kubernetes, three clusters at a time; `--json FILE` keeps the figures.
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findBinaries } from "../test/cluster/binaries.ts";
import { productImage } from "../test/cluster/product.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const usage =
  "npm run e2e [-- WORD … --jobs N --json FILE --logs FOLDER]: suites on a real Kubernetes; only files whose path has one of the words.";
const suiteMsMax = 900_000;
/** Suites mostly wait, for leases, time-outs, rollouts: one takes about half a processor. */
const jobsByDefault = 3;
/** These measure, or look at the whole machine. */
const alone = ["figures", "harness"];
/** The longest first, so that none is left to run alone at the end. */
const first = ["failures", "faults", "api-server", "ledger", "workloads", "install", "former"];
const { values, positionals, jobs } = readArguments();
const files = globSync("test/e2e/**/*.e2e.ts", { cwd: root })
  .filter((file) => positionals.length === 0 || positionals.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  console.error(`No suite has one of these words in its path: ${positionals.join(", ")}`);
  process.exit(2);
}
await findBinaries({ say: console.log });
process.env["E2E_IMAGE"] = await productImage();
const folder = mkdtempSync(join(tmpdir(), "spiderpool-e2e-"));
const figures = join(folder, "figures");
writeFileSync(figures, "");
process.env["E2E_FIGURES"] = figures;
if (values.logs !== undefined) {
  mkdirSync(values.logs, { recursive: true });
  process.env["E2E_LOGS"] = values.logs;
}
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
const count = { passed: 0, failed: 0 };
const has = (file: string, names: readonly string[]) => names.includes(basename(file, ".e2e.ts"));
const together = files.filter((file) => !has(file, alone));
await play([...together.filter((file) => has(file, first)), ...together.filter((file) => !has(file, first))], jobs);
await play(
  files.filter((file) => has(file, alone)),
  1,
);
const measured = Object.fromEntries(
  readFileSync(figures, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as [string, unknown]),
);
for (const [name, value] of Object.entries(measured)) console.log(`${name}: ${JSON.stringify(value)}`);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(measured, undefined, 2)}\n`);
rmSync(folder, { recursive: true, force: true });
process.exitCode = count.failed === 0 && count.passed > 0 ? 0 : 1;
process.on("exit", () => console.log(`${count.passed} passed, ${count.failed} failed`));

/** Runs the files, so many at a time, and counts what passed and failed. */
async function play(suites: readonly string[], concurrency: number): Promise<void> {
  if (suites.length === 0 || stop.signal.aborted) return;
  const running = run({ files: [...suites], cwd: root, concurrency, timeout: suiteMsMax, signal: stop.signal });
  running.on("test:pass", ({ details }) => {
    if (details.type !== "suite") count.passed += 1;
  });
  running.on("test:fail", ({ details }) => {
    // A suite fails with its tests; one that failed by itself, in a hook, counts.
    const { failureType } = details.error as { readonly failureType?: string };
    if (failureType !== "subtestsFailed") count.failed += 1;
  });
  await pipeline(running.compose(spec), process.stdout, { end: false });
}

function readArguments() {
  try {
    const [string, boolean] = [{ type: "string" }, { type: "boolean" }] as const;
    const options = { json: string, logs: string, jobs: string, yes: boolean } as const;
    const parsed = parseArgs({ options, allowPositionals: true });
    const jobs = Number(parsed.values.jobs ?? jobsByDefault);
    if (!Number.isInteger(jobs) || jobs < 1)
      throw new Error(`--jobs is ${parsed.values.jobs}, a number from 1 on is needed`);
    return { ...parsed, jobs };
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}
