import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { type FailPoint, hasCode, silentLogger, Tasks } from "#base";
import { type Attachment, type CniResult, emptyResult } from "#cni";
import { parsePrefix } from "#ip";
import { createNetns, hostNetns, type Netns, readSysctl } from "#linux";
import { isolated } from "../linux/testing/isolated.ts";
import { createCoordinatorPlugin } from "./coordinator/plugin.ts";
import { disableIpv6, makePairs, type PairSpec, Together } from "./pairs.ts";
import { createMacvlanPlugin } from "./sub-interface/plugin.ts";
import { deadline, runSteps } from "./testing/run-steps.ts";
import { StubIpam } from "./testing/stub-ipam.ts";

if (isolated(import.meta.url)) {
  const host = hostNetns();
  /** The coordinator's watch of the node's addresses never ends by itself. */
  const [tasks, watching] = [new Tasks(silentLogger), new Tasks(silentLogger)];
  host.rtnl.createVeth({ name: "node0", up: true, peer: { name: "switch", up: true } });
  host.rtnl.addAddress("node0", parsePrefix("172.18.0.3/24"));
  after(() => Promise.all([tasks.stop(), watching.stop()]));

  const specs: readonly PairSpec[] = [
    { name: "vethport", promiscuous: true, pod: { name: "eth0", up: true } },
    { name: "vethnode", mac: "02:00:00:00:00:01", mtuBytes: 1400, pod: { name: "veth0", up: true } },
    { name: "vethlate", pod: { name: "late" } },
  ];
  const named = ({ rtnl }: Netns) => rtnl.links().map(({ name }) => name);

  describe("pairs between node and Pod", { timeout: 240_000 }, () => {
    it("are made at once and come up, without IPv6 on the node and without addresses in the Pod", async () => {
      using pod = createNetns("/run/netns/once");
      const pairs = await makePairs(host, pod, specs);
      assert.deepEqual(
        pairs.map(({ name, peer }) => [name, peer.name, host.rtnl.link(name)?.carrier, pod.rtnl.link(peer.name)?.up]),
        [
          ["vethport", "eth0", true, true],
          ["vethnode", "veth0", true, true],
          ["vethlate", "late", false, false],
        ],
      );
      assert.deepEqual(
        specs.map(({ name }) => readSysctl(host, disableIpv6(name))),
        ["1", "1", "1"],
      );
      assert.deepEqual(
        pod.rtnl.addresses().filter(({ link }) => link !== 1),
        [],
      );
      assert.equal(host.rtnl.link("vethnode")?.mac, "02:00:00:00:00:01");
      assert.equal(pod.rtnl.link("veth0")?.mtuBytes, 1400);
    });

    it("take the place of what an ended agent left behind, and are made all or none", async () => {
      using pod = createNetns("/run/netns/again");
      host.rtnl.createVeth({ name: "vethnode-old", peer: { name: "veth0", netns: pod } });
      await assert.rejects(makePairs(host, pod, specs), (error) => hasCode(error, "EEXIST"));
      for (const { name } of specs) assert.equal(host.rtnl.link(name), undefined);
      await host.rtnl.deleteLinksLater(["vethnode-old"]);
      await makePairs(host, pod, specs);
      assert.deepEqual(named(pod), ["lo", "eth0", "veth0", "late"]);
      await host.rtnl.deleteLinksLater(specs.map(({ name }) => name));
    });

    it("that the coordinator needs are made by the plugin before it, and go when either fails at any stage", async () => {
      const containerId = "0123456789abcdef";
      using pod = createNetns("/run/netns/pod");
      const attachment: Attachment = { containerId, ifName: "eth0", netns: pod.path, pod: undefined, args: new Map() };
      const coordinator = createCoordinatorPlugin({ host, clusterConfig: async () => ({}), tasks: watching });
      const ipam = new StubIpam(["10.10.0.5/24"]);
      const macvlan = createMacvlanPlugin({ host, ipamFor: () => ipam, tasks });
      const config = { cniVersion: "1.0.0", name: "n" };
      const chained = (prevResult: CniResult) =>
        coordinator.decode({ ...config, type: "coordinator", raw: {}, prevResult });
      const add = (failPoint?: FailPoint) =>
        runSteps(async (steps) => {
          const together = new Together(await coordinator.pairs?.(chained(emptyResult), attachment, steps));
          const main = macvlan.decode({ ...config, type: "macvlan", raw: { master: "node0" } });
          const result = await macvlan.add(main, attachment, steps, together);
          assert.ok(together.pair("veth0123456789a"), "made before the coordinator's turn");
          return coordinator.add(chained(result), attachment, steps, together);
        }, failPoint);

      const before = named(host);
      for (const stage of ["link", "claim", "addresses", "coordinator"] as const) {
        for (const point of [`${stage}:before`, `${stage}:after`] as const) {
          const fail: FailPoint = (reached) => {
            if (reached === point) throw new Error(`failed at ${point}`);
          };
          await assert.rejects(add(fail), { message: `failed at ${point}` });
          await tasks.idle();
          assert.deepEqual([named(pod), named(host), ipam.held.size], [["lo"], before, 0], point);
        }
      }
      const result = await add();
      await coordinator.check(chained(result), attachment, deadline());
      await coordinator.del(chained(result), attachment, deadline());
      await macvlan.del(
        macvlan.decode({ ...config, type: "macvlan", raw: { master: "node0" } }),
        attachment,
        deadline(),
      );
      await Promise.all([tasks.idle(), host.rtnl.linkGone("veth0123456789a")]);
      assert.deepEqual([named(pod), named(host)], [["lo"], before]);
    });
  });
}
