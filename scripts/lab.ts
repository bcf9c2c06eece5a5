// `npm run lab -- --nodes N`: a lab with the product on it, until Ctrl-C.

import { positive, readFlags } from "./options.ts";
import { launchProductLab } from "./product-lab.ts";

const flags = readFlags("npm run lab -- [flags]: a cluster of namespaces on this machine, with Spiderpool running.", {
  nodes: { type: "string", help: "how many nodes (2)" },
  logs: { type: "string", help: "a folder for the programs' logs" },
});
const nodes = positive("nodes", flags.nodes, 2);
await using lab = await launchProductLab({
  nodes,
  bridges: true,
  onPhase: (phase, atMs) => console.log(`  ${(atMs / 1000).toFixed(2).padStart(6)} s  ${phase}`),
  ...(flags.logs === undefined ? {} : { logDirectory: flags.logs }),
});
console.log(`\n${nodes} nodes are up; each has an Open vSwitch bridge br1.`);
console.log(`  npm run shell                  a shell with kubectl and spiderpoolctl ready to type`);
console.log(`  npm run shell -- --node node1  a shell on a node`);
console.log(`  export KUBECONFIG=${lab.kubeconfig}`);
console.log("Ctrl-C ends it and leaves nothing behind.");
const stop = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.resolve());
await Promise.race([stop.promise, lab.exited]);
