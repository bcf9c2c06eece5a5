import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FailPoint } from "#base";
import { CniError } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { deleteNetns } from "#linux";
import { until } from "../../base/testing/until.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { coordinatorNode } from "./testing/node.ts";

if (isolated(import.meta.url)) {
  const { host, pod, client, onNode, ping, assertNothingLeft, fromPodServer, seenByService } = coordinatorNode();

  async function missingOf(checked: Promise<void>): Promise<readonly string[]> {
    const error: unknown = await checked.then(
      () => undefined,
      (caught: unknown) => caught,
    );
    assert.ok(error instanceof CniError);
    return error.details["missing"] as readonly string[];
  }

  describe("the coordinator plugin", { timeout: 240_000 }, () => {
    it("lets node and Pod reach each other in both families, and CHECK finds nothing missing", async () => {
      const one = pod(["10.6.0.10/16", "fd06::10/64"]);
      assert.deepEqual(await one.add(), one.prevResult);
      for (const [podAddress, nodeAddress] of [
        ["10.6.0.10", "172.18.0.3"],
        ["fd06::10", "fc00:f853::3"],
      ] as const) {
        onNode(...ping(podAddress));
        one.inside(...ping(nodeAddress));
      }
      const [inside, outside] = [one.inside("ip", "addr", "show", "veth0"), onNode("ip", "addr", "show", one.hostName)];
      for (const shown of [inside, outside]) {
        assert.match(shown, /mtu 1400.*state UP/);
        assert.doesNotMatch(shown, /inet/);
      }
      await one.check();
      await one.del();
      await assertNothingLeft(one, ["10.6.0.10", "fd06::10"]);
    });

    it("carries TCP from the node to the Pod and from the Pod to services through the node", async () => {
      const one = pod(["10.6.0.11/16", "fd06::11/64"]);
      await one.add();
      for (const [podAddress, service] of [
        ["10.6.0.11", "10.96.0.1"],
        ["fd06::11", "fd00:96::1"],
      ] as const) {
        assert.equal(await fromPodServer(one, podAddress), "hello");
        assert.equal(await seenByService(one, service), podAddress);
      }
      await one.del();
    });

    it("sends replies to connections that came through the node back through it, though eth0 has the default route", async () => {
      const one = pod(["10.6.0.12/16", "fd06::12/64"]);
      await one.add();
      client(...ping("10.6.0.12"));
      client(...ping("fd06::12"));
      assert.match(one.inside("ip", "route", "get", "172.18.0.9"), /dev eth0/);
      one.inside("ip", "rule", "del", "pref", "1000");
      assert.throws(() => client("ping", "-c", "1", "-W", "1", "10.6.0.12"));
      await one.del();
    });

    it("makes what CHECK finds missing when ADD is repeated, and no more", async () => {
      const one = pod(["10.6.0.13/16"]);
      await one.add();
      one.inside("ip", "route", "del", "10.96.0.0/12");
      assert.deepEqual(await missingOf(one.check()), [
        "pod: route 10.96.0.0/12 via 172.18.0.3 dev veth0 src 10.6.0.13 table 254",
      ]);
      one.inside("ip", "rule", "del", "pref", "1000");
      onNode("ip", "neigh", "del", "10.6.0.13", "dev", one.hostName);
      onNode("ip", "rule", "del", "pref", "1000");
      assert.equal((await missingOf(one.check())).length, 4);
      await one.add();
      await one.check();
      const rules = onNode("ip", "rule").split("\n");
      assert.equal(rules.filter((rule) => rule.startsWith("1000:")).length, 1);
      await one.del();
    });

    it("takes over an address whose earlier holder left a route and a neighbour", async () => {
      host.rtnl.createVeth({ name: "stale0", up: true, peer: { name: "stale1", up: true } });
      host.rtnl.setNeighbour("stale0", parseIp("10.6.0.14"), "02:00:00:00:00:01");
      host.rtnl.addRoute({ dst: parsePrefix("10.6.0.14/32"), dev: "stale0", table: 500 });
      host.rtnl.addRoute({ dst: parsePrefix("fd06::14/128"), dev: "stale0", table: 500 });
      const one = pod(["10.6.0.14/16", "fd06::14/64"]);
      await one.add();
      onNode(...ping("10.6.0.14"));
      onNode(...ping("fd06::14"));
      await one.del();
      await assertNothingLeft(one, ["10.6.0.14", "fd06::14"]);
      await host.rtnl.deleteLinksLater(["stale0"]);
    });

    it("sets what is configured in the Pod: MAC address, queue, rp_filter, the veth's address and policy routes", async () => {
      const one = pod(["10.6.0.15/16"], {
        podMACPrefix: "0a:1b",
        txQueueLen: 333,
        podRPFilter: 2,
        vethLinkAddress: "169.254.200.1",
        policyRoutes: [
          { dst: "192.168.7.9/24", gw: "10.6.0.2" },
          { dst: "fd77::/64", gw: "fd06::2" },
        ],
      });
      await one.add();
      assert.match(one.inside("ip", "link", "show", "eth0"), /qlen 333.*\n.*0a:1b:0a:06:00:0f/);
      assert.match(one.inside("ip", "addr", "show", "veth0"), /inet 169\.254\.200\.1\/32/);
      assert.match(one.inside("ip", "route"), /192\.168\.7\.0\/24 via 10\.6\.0\.2 dev eth0/);
      assert.equal(one.inside("cat", "/proc/sys/net/ipv4/conf/all/rp_filter").trim(), "2");
      await one.check();
      await one.del();
    });

    for (const [dst, gw, network] of [
      ["10.9.0.0/16", "10.7.0.1", "10.6.0.0/16"],
      ["fd77::/64", "fd07::2", "fd06::/64"],
    ] as const) {
      it(`says which route of the configuration the kernel refuses, by ${gw}, and what the NIC reaches`, async () => {
        const one = pod(["10.6.0.16/16", "fd06::16/64"], {
          policyRoutes: [
            { dst: "192.168.7.0/24", gw: "10.6.0.2" },
            { dst, gw },
          ],
        });
        await assert.rejects(one.add(), (error) => {
          assert.ok(error instanceof CniError);
          const { field, value, allowed } = error.details;
          assert.deepEqual([error.cniCode, field, value], [7, "policyRoutes[1].gw", gw]);
          assert.ok(String(allowed).startsWith(`for ${dst}, another host in a network of eth0 (`), String(allowed));
          assert.ok(String(allowed).includes(network), String(allowed));
          return true;
        });
        await assertNothingLeft(one, ["10.6.0.16", "fd06::16"]);
      });
    }

    it("deletes twice, without a namespace, and without the cluster's configuration", async () => {
      const twice = pod(["10.6.0.17/16"]);
      await twice.add();
      await twice.del();
      await twice.del();
      await assertNothingLeft(twice, ["10.6.0.17"]);
      const vanished = pod(["10.6.0.18/16"]);
      await vanished.add();
      deleteNetns(vanished.netns);
      await vanished.del();
      await vanished.del("net1");
      await assertNothingLeft(vanished, ["10.6.0.18"]);
      const away = pod(["10.6.0.19/16"], {}, new Error("not synced"));
      await assert.rejects(away.add(), /not synced/);
      await away.del("eth0", { netns: "" });
      await away.del("net1");
    });

    it("does nothing where it is disabled, by either word", async () => {
      for (const mode of ["disable", "disabled"]) {
        const one = pod(["10.6.0.20/16"], { mode });
        assert.deepEqual(await one.add(), one.prevResult);
        await one.check();
        assert.equal(host.rtnl.link(one.hostName), undefined);
        await one.del();
      }
    });

    const isRefusedRoute = (error: unknown) =>
      error instanceof CniError && error.details["field"] === "policyRoutes[0].gw";

    it("leaves nothing when it fails, and what an earlier ADD made when a repeated one does", async () => {
      const one = pod(["10.6.0.21/16"], { policyRoutes: [{ dst: "192.168.8.0/24", gw: "192.168.9.1" }] });
      await assert.rejects(one.add(), isRefusedRoute);
      await assertNothingLeft(one, ["10.6.0.21"]);
      const two = pod(["10.6.0.22/16"]);
      await two.add();
      two.inside("ip", "addr", "flush", "dev", "eth0");
      await assert.rejects(two.add(), /no usable IP addresses/);
      assert.ok(host.rtnl.link(two.hostName)?.up);
      await two.del();
      const three = pod(["10.6.0.27/16"], { policyRoutes: [{ dst: "192.168.8.0/24", gw: "10.6.0.2" }] });
      await three.add();
      three.addNic("net1", ["10.7.0.27/16"], ["10.7.0.1"]);
      await assert.rejects(three.add("net1"), isRefusedRoute);
      onNode(...ping("10.6.0.27"));
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.27/);
      await three.del();
    });

    it("leaves nothing when it fails before or after its stage, for the first NIC and for a later one", async () => {
      const one = pod(["10.6.0.28/16"]);
      for (const point of ["coordinator:before", "coordinator:after"]) {
        const fail: FailPoint = (reached) => {
          if (reached === point) throw new Error(`failed at ${point}`);
        };
        await assert.rejects(one.add("eth0", fail), { message: `failed at ${point}` });
        await assertNothingLeft(one, ["10.6.0.28"]);
      }
      await one.add();
      one.addNic("net1", ["10.7.0.28/16"], ["10.7.0.1"]);
      const fail: FailPoint = (reached) => {
        if (reached === "coordinator:after") throw new Error("failed");
      };
      await assert.rejects(one.add("net1", fail), { message: "failed" });
      assert.doesNotMatch(onNode("ip", "route", "show", "table", "500"), /10\.7\.0\.28/);
      onNode(...ping("10.6.0.28"));
      await one.del();
    });

    it("knows a new address of the node at the next ADD", async () => {
      const before = pod(["10.6.0.25/16"]);
      await before.add();
      host.rtnl.addAddress("node0", parsePrefix("172.18.0.4/24"));
      const after = pod(["10.6.0.26/16"]);
      const routes = async () => {
        await after.add();
        return after.inside("ip", "route");
      };
      await until("a route to the new address", routes, (shown) => /172\.18\.0\.4 dev veth0/.test(shown));
      after.inside(...ping("172.18.0.4"));
      host.rtnl.deleteAddress("node0", parsePrefix("172.18.0.4/24"));
      await Promise.all([before.del(), after.del()]);
    });
  });
}
