// Networks for which this machine's kernel may lack something, tried in a user-mode kernel. Each uml-*.test.ts has a boot of its
// own, so that it is done within its time on a machine that has other things to do.
import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by ipvlan in a user-mode kernel", {
  files: ["test/traffic/ipvlan.test.ts"],
  tried: ["traffic by ipvlan", "traffic by ipvlan on a VLAN (ifacer)"],
});
