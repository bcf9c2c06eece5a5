// `npm run bench -- [--only NAMES] [--json FILE]`: what CNI calls cost on one lab node, through the shim as a runtime calls it.
import { writeFileSync } from "node:fs";
import { readFlags } from "../scripts/common/flags.ts";
import { BenchNode } from "./node.ts";
import { machineLine, type Report } from "./report.ts";
import { clusterSections, nodeSections } from "./sections.ts";

const names = [...nodeSections, ...clusterSections].map(({ name }) => name);
const usual = names.filter((name) => !clusterSections.some((one) => one.name === name && one.onDemand));
const flags = readFlags(
  "npm run bench -- [flags]: measures what CNI calls cost on one lab node, and allocation in large clusters.",
  {
    only: { type: "string", value: "NAMES", help: `only these sections, separated by commas: ${names.join(", ")}` },
    json: { type: "string", value: "FILE", help: "write the figures to this file" },
  },
);
const wanted = flags.only?.split(",") ?? usual;
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`--only ${unknown.join(",")}: there is no such section; there are ${names.join(", ")}`);
  process.exit(2);
}

console.log(machineLine());
const figures: Record<string, unknown> = { machine: machineLine() };
const isWanted = ({ name }: { readonly name: string }) => wanted.includes(name);

async function measure(name: string, what: string, run: () => Promise<Report>): Promise<void> {
  console.log(`\n${name}: ${what}`);
  const report = await run();
  for (const line of report.lines) console.log(`  ${line}`);
  figures[name] = report.figures;
}

if (nodeSections.some(isWanted)) {
  await using bench = await BenchNode.launch();
  for (const { name, what, run } of nodeSections.filter(isWanted)) await measure(name, what, () => run(bench));
}
for (const { name, what, run } of clusterSections.filter(isWanted)) await measure(name, what, run);
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(figures, undefined, 2)}\n`);
process.exit(0);
