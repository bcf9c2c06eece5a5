import { umlSuite } from "../uml/suite.ts";

umlSuite("traffic by macvlan on ifacer's parents in a user-mode kernel", {
  files: ["test/traffic/macvlan-ifacer.test.ts"],
  tried: ["traffic by macvlan on a VLAN (ifacer)", "traffic by macvlan on a VLAN of a bond (ifacer)"],
});
