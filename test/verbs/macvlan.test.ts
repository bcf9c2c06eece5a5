import { isolated } from "../../src/linux/testing/isolated.ts";
import { tryLinks } from "./links.ts";

if (isolated(import.meta.url)) {
  const macvlan = { type: "macvlan", master: "eth1", ipam: { type: "spiderpool" } };
  tryLinks("the verbs of CNI on macvlan", [
    { title: "macvlan and coordinator", needs: ["macvlan"], plugins: [macvlan, { type: "coordinator" }] },
  ]);
}
