import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type SpiderError, Steps, systemClock } from "#base";
import type { Attachment, CniResult, Ipam } from "#cni";
import { formatPrefix, parseIp, parsePrefix } from "#ip";
import { createNetns, deleteNetns, hostNetns, openNetns } from "#linux";
import { isolated } from "../linux/testing/isolated.ts";
import { allocateForeign, type Detection } from "./detection.ts";
import { patience, shortPatience } from "./testing/patience.ts";

if (isolated(import.meta.url)) {
  const host = hostNetns();
  const netns = "/run/netns/pod";
  const attachment: Attachment = { containerId: "c", ifName: "net1", netns, pod: undefined, args: new Map() };
  const rivalMac = "02:00:00:00:00:99";
  const on: Detection = { ...patience, conflicts: true, gateways: true };

  /** A Pod's link as a foreign plugin makes it, down and without addresses; beyond it a host that is its gateway, too. */
  before(() => {
    using pod = createNetns(netns);
    host.rtnl.createVeth({ name: "rival", mac: rivalMac, up: true, peer: { name: "net1", netns: pod } });
    for (const address of ["10.6.0.1/16", "10.6.0.10/16", "fd06::1/64", "fd06::10/64"]) {
      host.rtnl.addAddress("rival", parsePrefix(address), { nodad: true });
    }
  });
  after(() => deleteNetns(netns));

  const resultOf = (addresses: readonly string[]): CniResult => ({
    interfaces: [],
    ips: addresses.map((text) => {
      const address = parsePrefix(text);
      const none = address.ip.family === 4 ? "10.6.0.99" : "fd06::99";
      return {
        address,
        gateway: parseIp(text.includes("20") ? none : address.ip.family === 4 ? "10.6.0.1" : "fd06::1"),
      };
    }),
    routes: [],
  });

  /** The MAC address of the Pod's other sandbox. */
  let own = "";

  /** Gives out these lists one after the other. */
  async function allocate(detection: Detection, ...lists: readonly (readonly string[])[]) {
    const conflicts: string[] = [];
    let at = 0;
    const next = async () => {
      await Promise.resolve();
      return resultOf(lists[at++] ?? []);
    };
    const ipam: Ipam = {
      allocate: next,
      replace: (_attachment, { mac }) => {
        conflicts.push(mac);
        return next();
      },
      isOwn: (_attachment, { mac }) => mac === own,
      release: () => Promise.resolve(),
      check: () => Promise.resolve(),
    };
    const steps = new Steps({ clock: systemClock, signal: AbortSignal.timeout(120_000) });
    const { ips } = await allocateForeign(attachment, { ipam, steps, detection });
    return { conflicts, given: ips.map(({ address }) => formatPrefix(address)) };
  }

  describe("allocateForeign()", () => {
    it("makes sure of addresses and gateways in both families by the link that is there", async () => {
      const free = ["10.6.0.11/16", "fd06::11/64"];
      assert.deepEqual(await allocate(on, free), { conflicts: [], given: free });
      const taken = [
        ["10.6.0.10/16", "fd06::11/64"],
        ["10.6.0.12/16", "fd06::10/64"],
      ];
      assert.deepEqual(await allocate(on, ...taken, free), { conflicts: [rivalMac, rivalMac], given: free });
      await assert.rejects(allocate({ ...on, ...shortPatience }, ["10.6.0.20/16"]), {
        message: "gateway 10.6.0.99 is unreachable",
      });
      const silent = allocate({ ...on, gatewayMsMax: 40, conflicts: false }, ["fd06::20/64"]);
      await assert.rejects(silent, ({ message, details }: SpiderError) => {
        assert.deepEqual([message, details["found"]], ["gateway fd06::99 is unreachable", "silence for 40 ms"]);
        return true;
      });
    });

    it("takes the answer of the Pod's own other sandbox for none", async () => {
      own = rivalMac;
      const kept = ["10.6.0.10/16", "fd06::10/64"];
      assert.deepEqual(await allocate({ ...on, gateways: false }, kept), { conflicts: [], given: kept });
      own = "";
    });

    it("asks nobody where it is off or the link is not there yet", async () => {
      const taken = ["10.6.0.10/16"];
      using pod = openNetns(netns);
      pod.rtnl.setLink("net1", { up: false });
      assert.deepEqual((await allocate({ ...on, conflicts: false, gateways: false }, taken)).given, taken);
      assert.equal(pod.rtnl.link("net1")?.up, false);
      pod.rtnl.deleteLink("net1");
      assert.deepEqual((await allocate(on, taken)).given, taken);
    });
  });
}
