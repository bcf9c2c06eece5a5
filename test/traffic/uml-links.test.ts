// Networks for which this machine's kernel may lack something, tried in a user-mode kernel. A boot of its own, as is that
// of uml-parents.test.ts and ../uml.test.ts: each is done within its time on a machine that has other things to do.
import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by ipvlan and vlan in a user-mode kernel", {
  files: ["test/traffic/ipvlan.test.ts", "test/traffic/vlan.test.ts"],
  tried: [
    "traffic by ipvlan",
    "traffic by ipvlan on a VLAN (ifacer)",
    "traffic by vlan",
    "traffic by vlan on a bond (ifacer)",
  ],
});
