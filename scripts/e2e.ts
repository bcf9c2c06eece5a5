// `npm run e2e [-- WORD …]`: suites on a real Kubernetes, one cluster after the other; `--json FILE` keeps the figures.
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findBinaries } from "../test/cluster/binaries.ts";
import { productImage } from "../test/cluster/product.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const usage =
  "npm run e2e [-- WORD … --json FILE --logs FOLDER]: suites on a real Kubernetes; only files whose path has one of the words.";
const suiteMsMax = 900_000;
const { values, positionals } = readArguments();
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
const running = run({ files, cwd: root, concurrency: 1, timeout: suiteMsMax, signal: stop.signal });
running.on("test:pass", ({ details }) => {
  if (details.type !== "suite") count.passed += 1;
});
running.on("test:fail", ({ details }) => {
  // A suite fails with its tests; one that failed by itself, in a hook, counts.
  const { failureType } = details.error as { readonly failureType?: string };
  if (failureType !== "subtestsFailed") count.failed += 1;
});
running.compose(spec).pipe(process.stdout);
running.on("end", () => {
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
});
process.on("exit", () => console.log(`${count.passed} passed, ${count.failed} failed`));

function readArguments() {
  try {
    const options = { json: { type: "string" }, logs: { type: "string" }, yes: { type: "boolean" } } as const;
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}
