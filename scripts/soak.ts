// `npm run soak -- [--minutes N] [--faults]`: Pods come and go on two nodes; afterwards nothing may be left.
import { writeFileSync } from "node:fs";
import { soak } from "../test/soak/soak.ts";
import { positive, readFlags } from "./options.ts";

const flags = readFlags("npm run soak -- [flags]: Pods come and go on two nodes; afterwards nothing may be left.", {
  minutes: { type: "string", help: "how long (10)" },
  width: { type: "string", help: "Pods at any time on each node (8)" },
  seed: { type: "string", help: "repeats a run (1)" },
  faults: { type: "boolean", help: "kill agents and cut nodes off from the API server meanwhile" },
  logs: { type: "string", help: "keep the programs' logs in this folder" },
  json: { type: "string", help: "write the report to this file" },
});
const report = await soak({
  seconds: positive("minutes", flags.minutes, 10) * 60,
  width: positive("width", flags.width, 8),
  seed: positive("seed", flags.seed, 1),
  faults: flags.faults,
  logDirectory: flags.logs,
  print: console.log,
});
const { rssMb, left, churns, kills, partitions } = report;
const violations = churns.flatMap((churn) => churn.violations);
for (const { failures } of churns) {
  for (const [words, times] of Object.entries(failures)) console.log(`${times} × tried again after: ${words}`);
}
console.log(`${kills} agents killed, ${partitions} partitions`);
console.log(`agent memory after the first tenth: ${rssMb.min.toFixed(1)} to ${rssMb.max.toFixed(1)} MB`);
console.log(`violations: ${violations.length}`, ...violations.slice(0, 10));
console.log(`left: ${left.length}`, ...left.slice(0, 20));
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report, undefined, 2)}\n`);
process.exit(violations.length + left.length === 0 ? 0 : 1);
