// `npm run soak -- [--minutes N] [--nics 3] [--faults]`: creates and deletes Pods on two nodes; nothing may be left afterwards.
import { writeFileSync } from "node:fs";
import { judge } from "../test/soak/judge.ts";
import { soak } from "../test/soak/soak.ts";
import { positive, readFlags } from "./common/flags.ts";

const flags = readFlags(
  "npm run soak -- [flags]: creates and deletes Pods on two nodes; afterwards nothing may be left.",
  {
    minutes: { type: "string", value: "N", help: "how long (10)" },
    width: { type: "string", value: "N", help: "Pods at any time on each node (8)" },
    nics: {
      type: "string",
      value: "1|3",
      help: "interfaces of each Pod: one, or three (macvlan, Open vSwitch, macvlan) (1)",
    },
    seed: { type: "string", value: "N", help: "repeats a run (1)" },
    faults: { type: "boolean", help: "kill agents and cut nodes off from the API server meanwhile" },
    logs: { type: "string", value: "DIR", help: "keep the programs' logs in this folder" },
    json: { type: "string", value: "FILE", help: "write the report to this file" },
  },
);
if (!["1", "3", undefined].includes(flags.nics)) {
  console.error(`--nics must be 1 or 3: found ${JSON.stringify(flags.nics)}`);
  process.exit(2);
}
const report = await soak({
  seconds: positive("minutes", flags.minutes, 10) * 60,
  width: positive("width", flags.width, 8),
  nics: flags.nics === "3" ? 3 : 1,
  seed: positive("seed", flags.seed, 1),
  faults: flags.faults,
  logDirectory: flags.logs,
  print: console.log,
});
const { rssMb, churns, kills, partitions } = report;
for (const { failures } of churns) {
  for (const [words, { times, soonestMs }] of Object.entries(failures))
    console.log(`${times} × tried again after ${soonestMs.toFixed(0)} ms or more: ${words}`);
}
console.log(`${kills} agents killed, ${partitions} partitions`);
for (const [node, minutes] of rssMb) {
  console.log(
    `memory of ${node}'s agent, MB, the median of each minute: ${minutes.map((mb) => mb.toFixed(1)).join(" ")}`,
  );
}
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ ...report, rssMb: Object.fromEntries(rssMb) }, undefined, 2)}\n`);
const wrong = judge(report, { faults: flags.faults });
console.log(
  wrong.length === 0 ? "as it must be" : `wrong: ${wrong.length}`,
  ...wrong.slice(0, 30).map((line) => `\n  ${line}`),
);
process.exit(wrong.length === 0 ? 0 : 1);
