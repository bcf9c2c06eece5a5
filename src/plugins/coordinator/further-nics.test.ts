import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SpiderError } from "#base";
import { isolated } from "../../linux/testing/isolated.ts";
import { coordinatorNode } from "./testing/node.ts";

if (isolated(import.meta.url)) {
  const { pod, client, onNode, ping, assertNothingLeft, fromPodServer, seenByService } = coordinatorNode();

  describe("the coordinator plugin for NICs behind the first", { timeout: 240_000 }, () => {
    it("keeps the node's end out of IPv6 until an interface of the Pod has it, and then from routes of the Pod", async () => {
      const one = pod(["10.6.0.40/16"]);
      await one.add();
      const setting = (name: string) => onNode("sysctl", "-n", `net.ipv6.conf.${one.hostName}.${name}`).trim();
      assert.equal(setting("disable_ipv6"), "1");
      one.addNic("net1", ["fd06::40/64"], ["fd06::1"]);
      await one.add("net1");
      assert.deepEqual([setting("disable_ipv6"), setting("accept_ra")], ["0", "0"]);
      assert.doesNotMatch(onNode("ip", "addr", "show", one.hostName), /inet6/);
      await one.check("net1");
      await one.check();
      await one.del("net1");
      await one.del();
      await assertNothingLeft(one, ["10.6.0.40", "fd06::40"]);
    });

    it("gives a second NIC a table of its own that leads to the node, and takes only its own away", async () => {
      const one = pod(["10.6.0.16/16", "fd06::16/64"]);
      await one.add();
      one.addNic("net1", ["10.7.0.16/16", "fd07::16/64"], ["10.7.0.1", "fd07::1"]);
      await one.add("net1");
      for (const address of ["10.6.0.16", "10.7.0.16", "fd06::16", "fd07::16"]) onNode(...ping(address));
      for (const address of ["10.6.0.16", "fd06::16"]) client(...ping(address));
      assert.match(one.inside("ip", "rule"), /999:\s+from 10\.7\.0\.16 lookup 101/);
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.7.0.16"), /via 10\.7\.0\.1 dev net1/);
      assert.doesNotMatch(one.inside("ip", "route"), /default.*net1/);
      await one.check("net1");
      await one.check();
      await one.del("net1");
      await one.del("net1");
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.16/);
      assert.doesNotMatch(one.inside("ip", "rule"), /10\.7\.0\.16/);
      onNode(...ping("10.6.0.16"));
      await one.del();
      await assertNothingLeft(one, ["10.6.0.16", "10.7.0.16", "fd06::16", "fd07::16"]);
    });

    for (const tunePodRoutes of [true, false]) {
      it(`finds nothing missing on a NIC when a later one brings the only default route, tunePodRoutes ${tunePodRoutes}`, async () => {
        const policyRoutes = [{ dst: "192.168.7.0/24", gw: "10.7.0.2" }];
        const one = pod(["10.6.0.41/16"], { tunePodRoutes });
        await one.add();
        one.inside("ip", "route", "del", "default");
        one.addNic("net1", ["10.7.0.41/16"], []);
        one.inside("ip", "route", "del", "default", "dev", "net1");
        await one.add("net1", undefined, { policyRoutes });
        one.addNic("net2", ["10.8.0.41/16"], ["10.8.0.1"]);
        await one.add("net2");
        await Promise.all([one.check(), one.check("net1"), one.check("net2")]);
        assert.match(one.inside("ip", "route"), /^default via 10\.8\.0\.1 dev net2/m);
        const wayOf = (dst: string) => one.inside("ip", "route", "get", dst, "from", "10.7.0.41");
        assert.match(wayOf("192.168.7.9"), /via 10\.7\.0\.2 dev net1/);
        for (const address of ["10.6.0.41", "10.7.0.41", "10.8.0.41"]) onNode(...ping(address));
        await one.del("net2");
        await one.del("net1");
        await one.del();
        await assertNothingLeft(one, ["10.6.0.41", "10.7.0.41", "10.8.0.41"]);
      });
    }

    it("has all others give way to the wanted NIC, also one without a coordinator, and finds nothing missing afterwards", async () => {
      const one = pod(["10.6.0.42/16"], { podDefaultRouteNic: "net2" });
      await one.add();
      one.addNic("net1", ["10.7.0.42/16"], ["10.7.0.1"]);
      one.addNic("net2", ["10.8.0.42/16"], ["10.8.0.1"]);
      await one.add("net2");
      const defaults = () => one.inside("ip", "route", "show", "default").trim().split("\n");
      assert.match(defaults().join(), /^default via 10\.8\.0\.1 dev net2[^,]*$/);
      for (const [from, way] of [
        ["10.6.0.42", /via 10\.6\.0\.1 dev eth0/],
        ["10.7.0.42", /via 10\.7\.0\.1 dev net1/],
        ["10.8.0.42", /via 10\.8\.0\.1 dev net2/],
      ] as const) {
        assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", from), way);
      }
      one.addNic("net3", ["10.9.0.42/16"], ["10.9.0.1"]);
      await Promise.all([one.check(), one.check("net2")]);
      assert.equal(defaults().length, 2);
      for (const address of ["10.6.0.42", "10.8.0.42"]) onNode(...ping(address));
      await one.del("net2");
      await one.del();
      await assertNothingLeft(one, ["10.6.0.42", "10.8.0.42"]);
    });

    it("refuses a wanted NIC that the Pod never has, of the network or the cluster, where there is one to choose", async () => {
      for (const [one, field] of [
        [pod(["10.6.0.43/16"], { podDefaultRouteNic: "net2" }), /network's coordinator/],
        [pod(["10.6.0.44/16"], {}, { podDefaultRouteNIC: "net2" }), /SpiderCoordinator's spec/],
      ] as const) {
        await assert.rejects(
          async () => one.verify("net1", ["eth0", "net1"]),
          (error) => {
            assert.ok(error instanceof SpiderError && error.code === "DEFAULT_ROUTE_NIC");
            assert.match(String(error.details["field"]), field);
            assert.deepEqual([error.details["found"], error.details["allowed"]], ["net2", "eth0, net1"]);
            return true;
          },
        );
        await one.verify("net1", ["eth0", "net1", "net2"]);
        await one.verify("eth0", ["eth0"]);
      }
      await pod(["10.6.0.45/16"], { podDefaultRouteNic: "net2", tunePodRoutes: false }).verify("net1", [
        "eth0",
        "net1",
      ]);
    });

    it("moves the second NIC's next hop of an IPv6 multipath default route, and leaves the first NIC's", async () => {
      const one = pod(["fd06::33/64"]);
      await one.add();
      one.addNic("net1", ["fd07::33/64"], ["fd07::1"]);
      const routes = (...argv: readonly string[]) => one.inside("ip", "-6", "route", ...argv);
      // As plugins do that give it no metric of its own.
      routes("del", "default", "dev", "net1");
      routes("append", "default", "via", "fd07::1", "dev", "net1");
      assert.match(routes("show", "default"), /nexthop via fd06::1 dev eth0.*\n.*nexthop via fd07::1 dev net1/);
      await one.add("net1");
      assert.match(routes("show", "default"), /^default via fd06::1 dev eth0 .*\n$/);
      assert.match(routes("show", "table", "101"), /^default via fd07::1 dev net1/m);
      await Promise.all([one.check(), one.check("net1")]);
      onNode(...ping("fd07::33"));
      await one.del("net1");
      await one.del();
    });

    it("coordinates NICs beside an overlay network's: the node reaches both, both reach Services, by ping and TCP", async () => {
      const [overlayIps, underlayIps] = [
        ["10.244.0.30/32", "fd44::30/128"],
        ["10.7.0.30/16", "fd07::30/64"],
      ] as const;
      const one = pod([]);
      one.becomeOverlay(overlayIps);
      one.addNic("net1", underlayIps, ["10.7.0.1", "fd07::1"]);
      await one.add("net1");
      for (const address of ["10.244.0.30", "fd44::30", "10.7.0.30", "fd07::30"]) {
        onNode(...ping(address));
        assert.equal(await fromPodServer(one, address), "hello");
      }
      // To net1 they come by its own network.
      for (const address of ["10.244.0.30", "fd44::30"]) client(...ping(address));
      for (const address of ["172.18.0.3", "fc00:f853::3"]) one.inside(...ping(address));
      for (const service of ["10.96.0.1", "fd00:96::1"]) assert.ok(await seenByService(one, service));
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.7.0.30"), /via 10\.7\.0\.1 dev net1/);
      assert.match(one.inside("ip", "route", "get", "8.8.8.8", "from", "10.244.0.30"), /dev eth0/);
      assert.doesNotMatch(one.inside("ip", "link"), /veth0/);
      await one.check("net1");

      one.addNic("net2", ["10.7.1.30/16"], ["10.7.0.1"]);
      await one.add("net2");
      onNode(...ping("10.7.1.30"));
      await Promise.all([one.check("net1"), one.check("net2")]);
      await one.del("net2");
      await one.del("net1");
      await one.del("net1");
      onNode(...ping("10.244.0.30"));
      const left = onNode("ip", "route", "show", "table", "500") + onNode("ip", "-6", "route", "show", "table", "500");
      assert.doesNotMatch(left, /10\.7\.|fd07/);
    });

    it("refuses the modes that do not fit the interfaces that are there", async () => {
      const first = pod(["10.6.0.31/16"], { mode: "overlay" });
      await assert.rejects(first.add(), /must not run on the first interface in overlay mode/);
      await assertNothingLeft(first, ["10.6.0.31"]);
      const [settings, underlay] = [{ mode: "overlay" }, pod(["10.6.0.32/16"])];
      await underlay.add();
      underlay.addNic("net1", ["10.7.0.32/16"], ["10.7.0.1"]);
      await assert.rejects(underlay.add("net1", undefined, settings), /previous interface works in underlay mode/);
      await underlay.del();
    });

    it("refuses a veth0 that is not its own, and a second NIC without the first", async () => {
      const one = pod(["10.6.0.23/16"]);
      one.inside("ip", "link", "add", "veth0", "type", "veth", "peer", "other");
      await assert.rejects(one.add(), /no other end on the node/);
      assert.match(one.inside("ip", "link"), /veth0@other/);
      await assert.rejects(pod(["10.6.0.24/16"], { mode: "underlay", podDefaultCniNic: "net0" }).add(), /not created/);
    });
  });
}
