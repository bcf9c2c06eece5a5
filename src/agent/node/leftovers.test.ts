import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { silentLogger } from "#base";
import type { Ovs, OvsPort } from "#ovsdb";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { runLeftovers } from "./leftovers.ts";

function port(name: string, changes: Partial<OvsPort> = {}): OvsPort {
  const owner = { contPodUid: "u", contNetns: "/run/netns/x", contIface: "eth0" };
  return {
    uuid: name,
    name,
    bridge: "br1",
    vlan: { mode: "trunk", ids: [] },
    owner,
    ofport: 1,
    error: undefined,
    interfaceType: "",
    ifaceId: undefined,
    ...changes,
  };
}

const noDevice = { ofport: -1, error: "could not open network device (No such device)" };

/** A database in memory that tells of its changes. */
function fakeOvs(...ports: readonly OvsPort[]) {
  const byName = new Map(ports.map((one) => [one.name, one]));
  const listeners = new Set<() => void>();
  const ovs: Pick<Ovs, "ports" | "changed" | "detach" | "state"> = {
    state: { kind: "connected" },
    ports: () => byName,
    changed: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    detach: async (which) => {
      byName.delete(String(which));
      return [String(which)];
    },
  };
  return { ovs: ovs as Ovs, byName, change: () => listeners.forEach((listener) => void listener()) };
}

async function withLeftovers(
  ports: readonly OvsPort[],
  links: Set<string>,
  act: (world: ReturnType<typeof fakeOvs> & { readonly clock: ManualClock }) => Promise<void>,
): Promise<void> {
  const clock = new ManualClock();
  const world = fakeOvs(...ports);
  const stop = new AbortController();
  const hasLink = (name: string) => links.has(name);
  const running = runLeftovers({ ovs: world.ovs, hasLink, clock, log: silentLogger }, { signal: stop.signal });
  await clock.advance(0);
  await act({ ...world, clock });
  stop.abort(new Error("the test is over"));
  await running.catch(() => {});
}

describe("left-over ports", () => {
  it("are removed after two looks 30 s apart, those of living Pods and of others never", async () => {
    const ports = [
      port("gone", noDevice),
      port("alive"),
      port("busy", noDevice),
      port("foreign", { ...noDevice, owner: undefined }),
    ];
    await withLeftovers(ports, new Set(["alive", "busy"]), async ({ clock, byName }) => {
      await clock.advance(29_000);
      assert.deepEqual([...byName.keys()], ["gone", "alive", "busy", "foreign"]);
      await clock.advance(2_000);
      assert.deepEqual([...byName.keys()], ["alive", "busy", "foreign"]);
    });
  });

  it("do not include a port whose device appears between the looks", async () => {
    const links = new Set<string>();
    await withLeftovers([port("late", noDevice)], links, async ({ clock, byName, change }) => {
      await clock.advance(10_000);
      links.add("late");
      change();
      await clock.advance(100_000);
      assert.deepEqual([...byName.keys()], ["late"]);
    });
  });

  it("are noticed when Open vSwitch tells of a change, without looking all the time", async () => {
    const links = new Set(["veth1"]);
    await withLeftovers(
      [port("veth1"), port("br1", { owner: undefined })],
      links,
      async ({ clock, byName, change }) => {
        links.clear();
        await clock.advance(100_000);
        assert.equal(byName.size, 2);
        byName.set("veth1", port("veth1", noDevice));
        change();
        await clock.advance(31_000);
        assert.deepEqual([...byName.keys()], ["br1"]);
      },
    );
  });

  it("are found within ten minutes where Open vSwitch has not noticed", async () => {
    const links = new Set(["veth1", "veth2"]);
    const ports = [port("veth1"), port("veth2"), port("br1", { owner: undefined })];
    await withLeftovers(ports, links, async ({ clock, byName }) => {
      links.delete("veth1");
      await clock.advance(590_000);
      assert.equal(byName.size, 3);
      await clock.advance(50_000);
      assert.deepEqual([...byName.keys()], ["veth2", "br1"]);
    });
  });
});
