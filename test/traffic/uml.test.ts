// Networks for which this machine's kernel may lack something, tried in a user-mode kernel: another boot than that of
// ../uml.test.ts, so that both are done in time.
import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic in a user-mode kernel", {
  files: ["ovs-kernel", "macvlan-ifacer", "ipvlan", "vlan"].map((name) => `test/traffic/${name}.test.ts`),
  tried: ["ovs, kernel datapath", "macvlan on a VLAN (ifacer)", "ipvlan", "vlan"].map((kind) => `traffic by ${kind}`),
});
