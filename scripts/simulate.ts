// `npm run simulate -- --steps N --seed S`: random histories of a whole cluster, judged by the law of addresses.
import { readFileSync } from "node:fs";
import { Simulation } from "../test/simulation/index.ts";
import { positive, readFlags } from "./common/flags.ts";

const flags = readFlags(
  "npm run simulate -- [flags]: runs random histories of a whole cluster and checks the rules of the ledger.",
  {
    steps: { type: "string", value: "N", help: "stop after this many steps (1000000)" },
    seed: {
      type: "string",
      value: "WORD",
      help: "seed of the random histories; printed with every failure (the current time)",
    },
    focus: {
      type: "string",
      value: "KINDS",
      help: "make these events far more frequent, separated by commas: stateful,reboot (see test/simulation/history.ts)",
    },
    replay: { type: "string", value: "FILE", help: "repeat the history in this file, as printed by a failure" },
  },
);
const simulation = await Simulation.load();
if (flags.replay !== undefined) {
  const { violation, steps, atMs } = await simulation.run(simulation.parse(readFileSync(flags.replay, "utf8")));
  console.log(`${steps} steps, ${Math.round(atMs / 1000)} s of the world: ${violation ?? "the law holds"}`);
  process.exit(violation === undefined ? 0 : 1);
}
const stepsMin = positive("steps", flags.steps, 1_000_000);
const seed = flags.seed ?? String(Date.now());
console.log(`seed ${seed}`);
const focus = readFocus();
const startMs = performance.now();
let runs = 0;
const seen = () => {
  runs += 1;
  if (process.stdout.isTTY) process.stdout.write(`\r${runs} histories`);
};
const { steps, failure } = await simulation.search(seed, stepsMin, seen, focus);
const perSecond = Math.round((steps / (performance.now() - startMs)) * 1000);
console.log(`${process.stdout.isTTY ? "\r" : ""}${runs} histories, ${steps} steps, ${perSecond} a second`);
if (failure !== undefined) {
  console.log(
    `✖ ${failure.violation}\n  seed ${failure.history.seed}; looking for the shortest history that does it …`,
  );
  const least = await simulation.minimise(failure);
  console.log(`✖ ${least.violation}\nReplay with --replay FILE, where FILE has these lines:\n${least.text}`);
  process.exit(1);
}
console.log("✔ the law holds");

/** The kinds of events that `--focus` names; for an unknown one ends the program with a list of all. */
function readFocus() {
  try {
    return simulation.focusOn(flags.focus?.split(",") ?? []);
  } catch (error) {
    console.error(`--focus: ${(error as Error).message}`);
    process.exit(2);
  }
}
