// `npm run lab -- --nodes N`: a lab with the product on it, until Ctrl-C.
import { resolve } from "node:path";
import { shellHint } from "../lab/shell.ts";
import { nodesMax } from "../lab/topology/index.ts";
import { positive, readFlags } from "./common/flags.ts";
import { launchProductLab } from "./common/product-lab.ts";

const flags = readFlags(
  "npm run lab -- [flags]: starts a cluster of network namespaces on this machine, with Spiderpool running.",
  {
    nodes: { type: "string", value: "N", help: `how many nodes, up to ${nodesMax} (2)` },
    conf: { type: "string", value: "FILE", help: "settings of agents and controller, as in conf.yml (all defaults)" },
    logs: { type: "string", value: "DIR", help: "keep the programs' logs in this folder" },
  },
);
const nodes = positive("nodes", flags.nodes, 2, nodesMax);
await using lab = await launchProductLab({
  nodes,
  bridges: true,
  config: flags.conf === undefined ? undefined : resolve(flags.conf),
  onPhase: (phase, atMs) => console.log(`  ${(atMs / 1000).toFixed(2).padStart(6)} s  ${phase}`),
  ...(flags.logs !== undefined && { logDirectory: flags.logs }),
});
const [shell, onNode] = shellHint(lab);
console.log(
  `\n${nodes === 1 ? "One node is up, with" : `${nodes} nodes are up, each with`} an Open vSwitch bridge br1.`,
);
console.log(`  ${shell.padEnd(onNode.length)}  a shell with kubectl and spiderpoolctl ready to type`);
console.log(`  ${onNode}  a shell on a node`);
console.log(`  export KUBECONFIG=${lab.kubeconfig}`);
console.log("Ctrl-C ends it and leaves nothing behind.");
const stop = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.resolve());
const byItself = () =>
  stop.reject(new Error("the lab ended by itself: what its programs said is kept with --logs DIR"));
void lab.exited.then(byItself);
await stop.promise;
