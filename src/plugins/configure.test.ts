import assert from "node:assert/strict";
import { it } from "node:test";
import { parseIp, parsePrefix } from "#ip";
import { createNetns, mainTable } from "#linux";
import { isolated } from "../linux/testing/isolated.ts";
import { configureInterface } from "./configure.ts";

if (isolated(import.meta.url)) {
  it("a default route beside another interface's comes after it, so that the coordinator finds both", () => {
    using pod = createNetns("/run/netns/pod");
    const names = ["eth0", "net1", "net2"] as const;
    for (const [at, name] of names.entries()) {
      const { rtnl } = pod;
      const link = rtnl.createVeth({ name, peer: { name: `peer${at}`, up: true } });
      const gateways = [`10.${at}.0.1`, `fd0${at}::1`].map((text) => parseIp(text));
      configureInterface(
        pod,
        { name, index: link.index },
        {
          ips: [`10.${at}.0.9/24`, `fd0${at}::9/64`].map((text) => ({ address: parsePrefix(text) })),
          routes: gateways.map((gw) => ({ dst: parsePrefix(gw.family === 4 ? "0.0.0.0/0" : "::/0"), gw })),
        },
      );
    }
    for (const [family, far] of [
      [4, "192.0.2.1"],
      [6, "2001:db8::1"],
    ] as const) {
      const defaults = pod.rtnl.routes({ family, table: mainTable }).filter(({ dst }) => dst.bits === 0);
      assert.deepEqual(
        defaults.map(({ dev }) => names.find((name) => pod.rtnl.link(name)?.index === dev)),
        names,
      );
      assert.equal(new Set(defaults.map(({ metric }) => metric)).size, names.length);
      assert.equal(pod.rtnl.routeGet(parseIp(far))?.dev, pod.rtnl.link("eth0")?.index);
    }
  });

  it("says so where an MTU is too small for the IPv6 address that the interface is to have", () => {
    using pod = createNetns("/run/netns/small");
    const configure = (ips: readonly string[]) => {
      const { index } = pod.rtnl.createVeth({ name: "eth0", mtuBytes: 1279, peer: { name: "peer0", up: true } });
      const addresses = ips.map((text) => ({ address: parsePrefix(text) }));
      configureInterface(pod, { name: "eth0", index }, { ips: addresses, routes: [] });
    };
    const allowed = "at least 1280 where Pods have IPv6 addresses";
    assert.throws(() => configure(["10.0.0.9/24", "fd00::9/64"]), {
      cniCode: 7,
      details: { field: "mtu", value: 1279, allowed },
    });
    pod.rtnl.deleteLink("eth0");
    configure(["10.0.0.9/24"]);
  });
}
