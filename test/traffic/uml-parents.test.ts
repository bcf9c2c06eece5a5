// As uml-links.test.ts: macvlan on what ifacer makes, and Open vSwitch's datapath in the kernel.
import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by macvlan on ifacer's parents and by Open vSwitch in a user-mode kernel", {
  files: ["test/traffic/macvlan-ifacer.test.ts", "test/traffic/ovs-kernel.test.ts"],
  tried: ["traffic by macvlan on a VLAN of a bond (ifacer)", "traffic by ovs, kernel datapath, access VLAN"],
});
