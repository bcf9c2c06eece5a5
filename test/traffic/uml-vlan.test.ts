import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by vlan in a user-mode kernel", {
  files: ["test/traffic/vlan.test.ts"],
  tried: ["traffic by vlan", "traffic by vlan on a bond (ifacer)"],
});
