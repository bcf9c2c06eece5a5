// `npm run bench -- [--only NAMES] [--json FILE]`: what CNI calls cost on one lab node, through the shim as a runtime calls it.
import { writeFileSync } from "node:fs";
import { readFlags } from "../scripts/options.ts";
import { BenchNode } from "./node.ts";
import { machineLine } from "./report.ts";
import { sections } from "./sections.ts";

const names = sections.map(({ name }) => name);
const flags = readFlags("npm run bench -- [flags]: what CNI calls cost on one lab node.", {
  only: { type: "string", help: `sections, joined by commas: ${names.join(", ")}` },
  json: { type: "string", help: "write the figures to this file" },
});
const wanted = flags.only?.split(",") ?? names;
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`--only ${unknown.join(",")}: there is no such section; there are ${names.join(", ")}`);
  process.exit(2);
}

await using bench = await BenchNode.launch();
console.log(machineLine());
const figures: Record<string, unknown> = { machine: machineLine() };
for (const { name, what, run } of sections.filter((section) => wanted.includes(section.name))) {
  console.log(`\n${name}: ${what}`);
  const report = await run(bench);
  for (const line of report.lines) console.log(`  ${line}`);
  figures[name] = report.figures;
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(figures, undefined, 2)}\n`);
await bench[Symbol.asyncDispose]();
process.exit(0);
