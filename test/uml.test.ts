// Links that this machine's kernel may not have: ipvlan, 802.1Q, bonds, macvlan on any parent, and the datapath of Open
// vSwitch in the kernel. They are tried in a user-mode kernel, booted once. The traffic of whole networks: traffic/uml-*.test.ts.
import { umlSuite } from "./uml/suite.ts";

umlSuite("in a user-mode kernel", {
  files: [
    "src/plugins/sub-interface/plugin.test.ts",
    "src/agent/calls/sub-interface-crash.test.ts",
    "src/plugins/ifacer/plugin.test.ts",
    "src/plugins/ovs/kernel-datapath.test.ts",
    "test/verbs/links.test.ts",
  ],
  tried: [
    "the macvlan plugin",
    "the ipvlan plugin",
    "the vlan plugin",
    "ifacer's bonds",
    "an agent that is killed while it serves ipvlan",
    "the verbs of CNI on ipvlan, vlan and ifacer",
  ],
});
