// Without a coordinator: where these run, in the user-mode kernel of test/uml.test.ts, each call of a plugin takes long.
import { isolated } from "../../src/linux/testing/isolated.ts";
import { tryLinks } from "./links.ts";

const ipam = { type: "spiderpool" };
const bond = { name: "bond1", mode: 1, options: "miimon=100" };

if (isolated(import.meta.url)) {
  tryLinks("the verbs of CNI on ipvlan, vlan and ifacer", [
    {
      title: "ifacer's VLAN and ipvlan",
      needs: ["ipvlan", "vlan"],
      plugins: [
        { type: "ifacer", interfaces: ["eth1"], vlanID: 8 },
        { type: "ipvlan", master: "eth1.8", ipam },
      ],
    },
    {
      title: "ifacer's bond and vlan",
      needs: ["vlan", "bond"],
      plugins: [
        { type: "ifacer", interfaces: ["eth2", "eth3"], bond },
        { type: "vlan", master: "bond1", vlanId: 7, ipam },
      ],
    },
  ]);
}
