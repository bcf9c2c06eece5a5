// `npm start`: the lab, the walk-through played on it, then it stays up. `--once` ends after the walk-through.
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { findKubectl } from "../lab/kubectl.ts";
import { Stage } from "../lab/scenarios/stage.ts";
import { playWalkthrough } from "../lab/scenarios/walkthrough.ts";
import { readFlags } from "./options.ts";
import { launchProductLab } from "./product-lab.ts";

const flags = readFlags("npm start [-- flags]: two Pods on two nodes over real Open vSwitch, driven by kubectl.", {
  once: { type: "boolean", help: "end after the walk-through" },
  logs: { type: "string", help: "a folder for the programs' logs" },
});
const manifests = fileURLToPath(new URL("../examples/ovs", import.meta.url));

const startMs = performance.now();
const since = () => `${((performance.now() - startMs) / 1000).toFixed(2)} s`;
const stop = Promise.withResolvers<void>();
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    interrupted = true;
    stop.resolve();
  });
}
console.log("Starting the lab: two nodes and a switch, as namespaces of this machine.");
const kubectl = await findKubectl();
await using lab = await launchProductLab({
  nodes: 2,
  onPhase: (phase, atMs) => console.log(`  ${(atMs / 1000).toFixed(2).padStart(6)} s  ${phase}`),
  ...(flags.logs === undefined ? {} : { logDirectory: flags.logs }),
});
const stage = new Stage({ lab, kubectl });
const play = playWalkthrough(stage, {
  manifests,
  onFirstPing: () => stage.say(`first ping ${since()} after the start`),
});
await Promise.race([play, stop.promise, lab.exited]);
if (!interrupted) {
  console.log(`\nThe walk-through took ${since()}.`);
  for (const failure of stage.failures) console.log(`  ✘ ${failure}`);
  if (!flags.once) {
    console.log("\nThe lab stays up. In another terminal:");
    console.log("  npm run shell                  kubectl, ready to type");
    console.log("  npm run shell -- --node node1  a node from the inside (ovs-vsctl show, ip netns, …)");
    console.log("Ctrl-C ends it and leaves nothing behind.\n");
    await Promise.race([stop.promise, lab.exited]);
  }
}
await lab.stop();
console.log(`${stage.passed} passed, ${stage.failures.length} failed`);
process.exitCode = stage.failures.length === 0 && (stage.passed > 0 || interrupted) ? 0 : 1;
