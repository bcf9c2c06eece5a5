import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger, systemClock } from "#base";
import { hostNetns } from "#linux";
import { createOvs } from "#ovsdb";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { isolated } from "../../linux/testing/isolated.ts";
import { changed } from "../../ovsdb/testing/changed.ts";
import { startOpenVswitch } from "../../ovsdb/testing/open-vswitch.ts";
import { runLeftovers } from "./leftovers.ts";

/** As many as a node has after a reboot at full load. */
const count = 200;

if (isolated(import.meta.url)) {
  describe("left-over ports of a real Open vSwitch", { timeout: 240_000 }, () => {
    it("are all taken off, whatever their number, and the port of a living device stays", async () => {
      await using real = startOpenVswitch();
      real.addBridge("br1");
      await using ovs = createOvs({ endpoint: real.endpoint, clock: systemClock, log: silentLogger });
      const { rtnl } = hostNetns();
      const names = Array.from({ length: count }, (_, at) => `veth${String(at).padStart(8, "0")}`);
      const [alive = "", vanishing = ""] = names;
      for (const name of [alive, vanishing]) rtnl.createVeth({ name, up: true, peer: { name: `p${name.slice(4)}` } });
      const signal = AbortSignal.timeout(60_000);
      await ovs.synced({ signal });
      await Promise.all(
        names.map((name) => {
          const owner = { contPodUid: "u", contNetns: `/run/netns/${name}`, contIface: "eth0" };
          return ovs.attach({ bridge: "br1", name, vlan: { mode: "access", tag: 1 }, owner }, { signal });
        }),
      );
      await Promise.all([alive, vanishing].map((name) => ovs.ready(name, { signal })));
      await rtnl.deleteLinksLater([vanishing]);
      // Those without a device from the start are marked; the one that lost it need not be.
      const marked = () => [...ovs.ports().values()].filter(({ error }) => error !== undefined && error !== "").length;
      await changed(ovs, () => marked() >= count - 2);

      const clock = new ManualClock();
      const stop = new AbortController();
      const hasLink = (name: string) => rtnl.link(name) !== undefined;
      const running = runLeftovers({ ovs, hasLink, clock, log: silentLogger }, { signal: stop.signal });
      await clock.advance(29_000);
      assert.equal(ovs.ports().size, count + 1); // the bridge's own
      await clock.advance(2_000);
      await changed(ovs, () => ovs.ports().size === 2);
      assert.deepEqual([...ovs.ports().keys()].sort(), ["br1", alive]);
      stop.abort(new Error("the test is over"));
      await running.catch(() => {});
    });
  });
}
