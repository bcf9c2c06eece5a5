import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by Open vSwitch's datapath in a user-mode kernel", {
  files: ["test/traffic/ovs-kernel.test.ts"],
  tried: ["traffic by ovs, kernel datapath", "traffic by ovs, kernel datapath, access VLAN"],
});
