// `npm run e2e [-- WORD …]`: suites on a real Kubernetes, five clusters at a time; `--json FILE` keeps the figures.
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { findBinaries } from "../test/cluster/binaries.ts";
import { makeImageStore } from "../test/cluster/image-store.ts";
import { buildImages } from "../test/cluster/images.ts";
import { productImage } from "../test/cluster/product.ts";
import { positive, readFlags } from "./common/flags.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const suiteMsMax = 900_000;
/** More than the processors, because suites mostly wait, for leases, time-outs, rollouts. */
const jobsByDefault = 5;
/** It measures. */
const alone = ["figures"];
/** The longest suites first, so that none runs alone at the end. */
const longest = [
  "failures",
  "faults",
  "ledger",
  "nodes",
  "install",
  "api-server",
  "former",
  "networks",
  "upgrade",
  "workloads",
  "services",
  "one-node",
  "walkthrough",
  "runtime",
];
const usage =
  "npm run e2e [-- WORD … flags]: runs all end-to-end suites on a real Kubernetes, or those whose path has one of the words.";
const flags = readFlags(
  usage,
  {
    jobs: { type: "string", value: "N", help: `how many suites run at a time (${jobsByDefault})` },
    json: { type: "string", value: "FILE", help: "write the figures to this file" },
    logs: { type: "string", value: "DIR", help: "keep the programs' logs in this folder" },
  },
  { takesWords: true },
);
const jobs = positive("jobs", flags.jobs, jobsByDefault);
const files = globSync("test/e2e/**/*.e2e.ts", { cwd: root })
  .filter((file) => flags.words.length === 0 || flags.words.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  console.error(`No suite has one of these words in its path: ${flags.words.join(", ")}`);
  process.exit(2);
}
await findBinaries({ say: console.log });
const image = await productImage();
const folder = mkdtempSync(join(tmpdir(), "spiderpool-e2e-"));
process.env["E2E_IMAGE"] = image;
process.env["E2E_IMAGE_STORE"] = await makeImageStore(folder, [...(await buildImages()), image]);
const figures = join(folder, "figures");
writeFileSync(figures, "");
process.env["E2E_FIGURES"] = figures;
if (flags.logs !== undefined) {
  mkdirSync(flags.logs, { recursive: true });
  process.env["E2E_LOGS"] = flags.logs;
}
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
const count = { passed: 0, failed: 0 };
const nameOf = (file: string) => basename(file, ".e2e.ts");
const place = (file: string) => longest.indexOf(nameOf(file)) + 1 || longest.length + 1;
const measuring = files.filter((file) => alone.includes(nameOf(file)));
await play(
  files.filter((file) => !measuring.includes(file)).sort((a, b) => place(a) - place(b)),
  jobs,
);
await play(measuring, 1);
const measured = Object.fromEntries(
  readFileSync(figures, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as [string, unknown]),
);
for (const [name, value] of Object.entries(measured)) console.log(`${name}: ${JSON.stringify(value)}`);
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(measured, undefined, 2)}\n`);
rmSync(folder, { recursive: true, force: true });
process.exitCode = count.failed === 0 && count.passed > 0 ? 0 : 1;
process.on("exit", () => console.log(`${count.passed} passed, ${count.failed} failed`));

/** Runs the files, up to a number at a time, and counts passed and failed tests. */
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
