// `npm run bench -- [--only NAMES] [--json FILE]`: what CNI calls cost on one lab node, through the shim as a runtime calls it.
import { writeFileSync } from "node:fs";
import { readFlags } from "../scripts/options.ts";
import { choice } from "./choice.ts";
import { ledger } from "./ledger.ts";
import { BenchNode } from "./node.ts";
import { machineLine } from "./report.ts";
import { type Report, sections } from "./sections.ts";

/** Sections that need no lab: parts of the product in this process. They run first. */
const parts: readonly { readonly name: string; readonly what: string; readonly run: () => Promise<Report> }[] = [
  { name: "choice", what: "the choice of one address, by size and use of the pool", run: choice },
  {
    name: "ledger",
    what: "1,000 Pods on 1,000 addresses at once, each on a random one of 1, 10 and 100 agents in one process",
    run: ledger,
  },
];

const names = [...parts, ...sections].map(({ name }) => name);
const flags = readFlags("npm run bench -- [flags]: what CNI calls cost on one lab node, and what parts of it cost.", {
  only: { type: "string", help: `sections, joined by commas: ${names.join(", ")}` },
  json: { type: "string", help: "write the figures to this file" },
});
const wanted = flags.only?.split(",") ?? names;
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`--only ${unknown.join(",")}: there is no such section; there are ${names.join(", ")}`);
  process.exit(2);
}

console.log(machineLine());
const figures: Record<string, unknown> = { machine: machineLine() };
const report = async (name: string, what: string, run: () => Promise<Report>) => {
  console.log(`\n${name}: ${what}`);
  const { lines, figures: found } = await run();
  for (const line of lines) console.log(`  ${line}`);
  figures[name] = found;
};
for (const { name, what, run } of parts.filter((part) => wanted.includes(part.name))) await report(name, what, run);
const onNode = sections.filter((section) => wanted.includes(section.name));
if (onNode.length > 0) {
  await using bench = await BenchNode.launch();
  for (const { name, what, run } of onNode) await report(name, what, () => run(bench));
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(figures, undefined, 2)}\n`);
process.exit(0);
