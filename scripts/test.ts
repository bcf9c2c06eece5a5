// `npm test [-- WORD …]`: types and lint, and beside them every test in one runner call, so that its closing lines count everything.
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildBundles, bundledVariable } from "./common/build.ts";
import { runChecks } from "./common/checks.ts";
import { readFlags } from "./common/flags.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const usage =
  "npm test [-- WORD …]: checks types and lint and runs every test, or those whose path has one of the words.";
const { words } = readFlags(usage, {}, { takesWords: true });
/** Begun first, so that none is left to run alone at the end. */
const longest = [
  "simulation/",
  "uml-ipvlan",
  "uml-ovs",
  "explain/",
  "uml-macvlan",
  "crash.",
  "uml-vlan",
  "uml.",
  "soak/",
  "plan/",
  "api/kubectl",
  "chart/workloads",
  "chart/acceptance",
  "refusals",
];
const place = (file: string) => longest.findIndex((part) => file.includes(`/${part}`)) + 1 || longest.length + 1;
const files = globSync("{src,lab,shim,images,test,bench,scripts}/**/*.test.ts", { cwd: root })
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort()
  .sort((a, b) => place(a) - place(b));
if (files.length === 0) {
  console.error(`No test file has one of these words in its path: ${words.join(", ")}`);
  process.exit(2);
}
await buildBundles();
// Beside the tests: the compiler alone would leave the other processors idle for as long as it takes.
const stop = new AbortController();
const checks = runChecks(stop);
/** One more than the processors of the smallest machine, because many test files mostly wait, for retries or time-outs. */
const concurrency = 3;
const watchdog = new URL("./common/watchdog.ts", import.meta.url).href;
const runner = spawn(
  process.execPath,
  ["--import", watchdog, "--test", `--test-concurrency=${concurrency}`, "--test-timeout=300000", ...files],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, [bundledVariable]: "true" },
  },
);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stop.abort();
    runner.kill(signal);
  });
}
runner.on("exit", async (code) => {
  const clean = await checks;
  if (!clean) console.log("types or lint failed: see above, near the top of this output");
  process.exitCode = code === 0 && clean ? 0 : 1;
});
