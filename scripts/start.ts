// `npm start`: starts the lab, plays the walk-through, and leaves the lab running, unless `--once` is given.
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { Stage } from "../lab/scenarios/stage.ts";
import { playWalkthrough } from "../lab/scenarios/walkthrough.ts";
import { shellHint } from "../lab/shell.ts";
import { findKubectl } from "../lab/tools/kubectl.ts";
import { playMarker } from "../test/cluster/protocol.ts";
import { readFlags } from "./common/flags.ts";
import { launchProductLab } from "./common/product-lab.ts";

const flags = readFlags(
  "npm start [-- flags]: plays the walk-through: two Pods on two nodes with real Open vSwitch, driven by kubectl. Then the lab stays up.",
  {
    once: { type: "boolean", help: "stop the lab after the walk-through" },
    kubernetes: { type: "boolean", help: "use a real Kubernetes instead of the lab, beginning with `helm install`" },
    logs: { type: "string", value: "DIR", help: "keep the programs' logs in this folder" },
  },
);
const manifests = fileURLToPath(new URL("../examples/ovs", import.meta.url));

const startMs = performance.now();
const since = () => `${((performance.now() - startMs) / 1000).toFixed(2)} s`;
const stop = Promise.withResolvers<void>();
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    interrupted = true;
    console.log("\nEnding everything that was started …");
    stop.resolve();
  });
}
const onPhase = (phase: string, atMs: number) => console.log(`  ${(atMs / 1000).toFixed(2).padStart(6)} s  ${phase}`);
const stage = await (flags.kubernetes ? startCluster() : startLab());
await using lab = stage.lab;
const play = (async () => {
  if (flags.kubernetes) await (await cluster()).playInstallation(stage);
  if (stage.failures.length > 0) return;
  const onFirstPing = () => stage.say(`first ping ${since()} after the start`);
  await playWalkthrough(stage, { manifests, onFirstPing });
})();
const ended = await Promise.race([play, stop.promise, lab.exited.then(() => "by itself" as const)]);
if (ended === "by itself" && !interrupted) {
  throw new Error(
    "the lab ended by itself, before the walk-through did: what its programs said is kept with --logs DIR",
  );
}
if (!interrupted) {
  console.log(`\nThe walk-through took ${since()}.`);
  for (const failure of stage.failures) console.log(`  ✘ ${failure}`);
  if (!flags.once) {
    const inCluster = ["npm run cluster -- shell", "npm run cluster -- shell node1"] as const;
    const [shell, onNode] = flags.kubernetes ? inCluster : shellHint(lab);
    console.log("\nIt stays up. In another terminal:");
    console.log(`  ${shell.padEnd(onNode.length)}  kubectl, ready to type`);
    console.log(`  ${onNode}  a node from the inside (ovs-vsctl show, ip netns, …)`);
    console.log("Ctrl-C ends it and leaves nothing behind.\n");
    await Promise.race([stop.promise, lab.exited]);
  }
}
await lab.stop();
console.log(`${stage.passed} passed, ${stage.failures.length} failed`);
process.exitCode = stage.failures.length === 0 && (stage.passed > 0 || interrupted) ? 0 : 1;

async function startLab(): Promise<Stage> {
  console.log("Starting the lab: two nodes and a switch, as namespaces of this machine.");
  const kubectl = await findKubectl();
  const lab = await launchProductLab({
    nodes: 2,
    onPhase,
    ...(flags.logs !== undefined && { logDirectory: flags.logs }),
  });
  return new Stage({ lab, kubectl });
}

async function startCluster(): Promise<Stage> {
  console.log("Starting Kubernetes: two nodes and a switch, as namespaces of this machine.");
  const { launchForProduct } = await cluster();
  const options = { marker: playMarker, onPhase, say: console.log, print: console.log };
  return (await launchForProduct({ ...options, ...(flags.logs !== undefined && { logDirectory: flags.logs }) })).stage;
}

/** Loaded only if needed, to keep the lab's start at 2 s. */
function cluster() {
  return import("../test/cluster/product.ts");
}
