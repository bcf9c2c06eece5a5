import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { JsonObject } from "#base";
import { CniError } from "#cni";
import { type Wanted, wantedOf } from "./config.ts";
import { type LinkState, namesOf, type Operation, planInterfaces } from "./plan.ts";

function wanted(raw: JsonObject): Wanted {
  return wantedOf({ config: { cniVersion: "1.0.0", name: "n", type: "ifacer", raw } });
}

function link(index: number, name: string, more: Partial<LinkState> = {}): LinkState {
  const none = { kind: undefined, master: undefined, peerIndex: undefined, vlanId: undefined };
  return { index, name, up: true, ...none, ...more };
}

/** Plans for a node with these links. */
function plan(raw: JsonObject, links: readonly LinkState[]): readonly Operation[] {
  const named = namesOf(wanted(raw));
  const seen = links.filter(({ name }) => named.includes(name));
  return planInterfaces(wanted(raw), {
    links: new Map(seen.map((one) => [one.name, one])),
    vlans: () => links.filter(({ vlanId }) => vlanId !== undefined),
    existing: () => links.map(({ name }) => name),
  });
}

const eth1 = link(1, "eth1");
const eth2 = link(2, "eth2");
const two = { interfaces: ["eth1", "eth2"] };

describe("the plan of ifacer", () => {
  it("is empty for one interface without a VLAN, with or without a bond, and for several without a bond", () => {
    for (const raw of [
      { interfaces: ["eth1"] },
      { interfaces: ["eth1"], vlanID: 0, bond: { name: "bond0", mode: 1 } },
      { ...two },
      { ...two, vlanID: 7 },
    ])
      assert.deepEqual(plan(raw, []), []);
  });

  it("makes the VLAN interface, with its parent up", () => {
    const raw = { interfaces: ["eth1"], vlanID: 100 };
    const made: Operation[] = [
      { do: "make VLAN", name: "eth1.100", parent: "eth1", id: 100 },
      { do: "up", name: "eth1.100" },
    ];
    assert.deepEqual(plan(raw, [eth1]), made);
    assert.deepEqual(plan(raw, [{ ...eth1, up: false }]), [{ do: "up", name: "eth1" }, ...made]);
  });

  it("uses a VLAN interface that is there, and brings it up", () => {
    const raw = { interfaces: ["eth1"], vlanID: 100 };
    const vlan = link(9, "eth1.100", { kind: "vlan", vlanId: 100, peerIndex: 1 });
    assert.deepEqual(plan(raw, [eth1, vlan]), []);
    assert.deepEqual(plan(raw, [eth1, { ...vlan, up: false }]), [{ do: "up", name: "eth1.100" }]);
    for (const [other, text] of [
      [{ ...vlan, kind: "dummy", vlanId: undefined }, /its kind is dummy, not vlan/],
      [{ ...vlan, vlanId: 101 }, /its tag is 101, not 100/],
      [{ ...vlan, peerIndex: 2 }, /its parent is not eth1/],
    ] as const) {
      assert.throws(
        () => plan(raw, [eth1, other]),
        (error) => text.test(CniError.from(error).text),
      );
    }
  });

  it("makes a bond with its members, and the VLAN interface on it", () => {
    const raw = {
      ...two,
      vlanID: 7,
      bond: { name: "bond0", mode: 1, options: "primary=eth1;miimon=100;active_slave=eth2" },
    };
    assert.deepEqual(plan(raw, [eth1, { ...eth2, up: false }]), [
      { do: "make bond", name: "bond0", mode: 1, options: { miimon: 100, primary: 1 } },
      { do: "enslave", bond: "bond0", name: "eth1", wasUp: true },
      { do: "enslave", bond: "bond0", name: "eth2", wasUp: false },
      { do: "up", name: "bond0" },
      { do: "activate", bond: "bond0", name: "eth2" },
      { do: "make VLAN", name: "bond0.7", parent: "bond0", id: 7 },
      { do: "up", name: "bond0.7" },
    ]);
    const [named] = plan({ ...two, bond: { mode: 0 } }, [eth1, eth2]);
    assert.deepEqual(named, { do: "make bond", name: "sp_bond0", mode: 0, options: {} });
  });

  it("uses a bond that is there whatever its mode, and adds members that it lacks", () => {
    const bond = link(5, "bond0", { kind: "bond" });
    const raw = { ...two, bond: { name: "bond0", mode: 99 } };
    const member = { ...eth1, master: 5 };
    assert.deepEqual(plan(raw, [bond, member, { ...eth2, master: 5 }]), []);
    assert.deepEqual(plan(raw, [{ ...bond, up: false }, member, eth2]), [
      { do: "enslave", bond: "bond0", name: "eth2", wasUp: true },
      { do: "up", name: "bond0" },
    ]);
  });

  it("is refused in the words of the catalogue, with nothing to be done", () => {
    const bond = { name: "bond0", mode: 1 };
    const others = [eth1, eth2];
    for (const [raw, links, text] of [
      [{}, [], "interfaces have at least one interface"],
      [{ interfaces: [] }, [], "interfaces have at least one interface"],
      [{ interfaces: ["a b"] }, [], "failed to parse config"],
      [{ interfaces: ["eth1", "eth1"], bond }, others, "failed to parse config"],
      [{ interfaces: ["eth1"], vlanID: 4095 }, others, "invalid vlan tag 4095: vlan tag must be in range [0,4094]"],
      [{ interfaces: ["eth1"], vlanID: -1 }, others, "invalid vlan tag -1: vlan tag must be in range [0,4094]"],
      [{ interfaces: ["eth1"], vlanID: "7" }, others, 'invalid vlan tag "7": vlan tag must be in range [0,4094]'],
      [
        { interfaces: ["eth1"], vlanID: 7 },
        [eth1, link(8, "other0", { kind: "vlan", vlanId: 7, peerIndex: 2 })],
        "cannot have multiple different vlan interfaces with the same vlanId 7",
      ],
      [{ interfaces: ["eth9"], vlanID: 7 }, others, "failed to LinkByName eth9: the node has no such interface"],
      [{ interfaces: ["enp129s0f0np0"], vlanID: 100 }, [link(1, "enp129s0f0np0")], "over 15 bytes"],
      [{ ...two, bond }, [...others, link(5, "bond0", { kind: "dummy" })], "a non-bond type interface named bond0"],
      [{ ...two, bond: { ...bond, mode: 7 } }, others, "unknown bond mode: 7, available mode: [0,6]"],
      [{ ...two, bond: { ...bond, options: "miimon=often" } }, others, "failed to convert options"],
      [{ ...two, bond: { ...bond, options: "ad_actor_system=x" } }, others, "invalid bond ad_actor_system"],
      [{ ...two, bond: { ...bond, options: "arp_ip_target=x" } }, others, "invalid bond arp_ip_target"],
      [{ ...two, bond: { ...bond, options: "primary=eth9" } }, others, "LinkByName bond primary"],
      [{ ...two, bond }, [eth1], "failed to InterfaceByName eth2: the node has no such interface"],
      [{ ...two, bond }, [eth1, { ...eth2, master: 9 }], "eth2 already belongs to another"],
    ] as const) {
      assert.throws(
        () => plan(raw, links),
        (error) => error instanceof Error && error.message.includes(text),
        text,
      );
    }
  });

  it("tells the interfaces that there are where one that is named is missing, and which field to correct", () => {
    for (const [raw, field] of [
      [{ interfaces: ["eth9"], vlanID: 7 }, "`interfaces`"],
      [{ interfaces: ["eth1", "eth9"], bond: { name: "bond0", mode: 1 } }, "`interfaces`"],
      [{ ...two, bond: { name: "bond0", mode: 1, options: "primary=eth9" } }, "primary in bond.options"],
    ] as const) {
      assert.throws(
        () => plan(raw, [eth1, eth2]),
        (error) => {
          const { text } = CniError.from(error);
          assert.ok(text.includes('existing ["eth1","eth2"]'), text);
          assert.ok(text.includes(`What to do: correct ${field} (\`master\` of a SpiderMultusConfig)`), text);
          return true;
        },
      );
    }
  });

  it("is empty once it was carried out, whatever was there before", () => {
    const index = { eth1: 1, eth2: 2, bond0: 5, "bond0.7": 6 } as Readonly<Record<string, number>>;
    const arbitrary = fc.record({ up1: fc.boolean(), up2: fc.boolean(), bond: fc.boolean(), member: fc.boolean() });
    fc.assert(
      fc.property(arbitrary, ({ up1, up2, bond, member }) => {
        const raw = { ...two, vlanID: 7, bond: { name: "bond0", mode: 1 } };
        const links = new Map<string, LinkState>([
          ["eth1", { ...eth1, up: up1, master: bond && member ? 5 : undefined }],
          ["eth2", { ...eth2, up: up2 }],
          ...(bond ? [["bond0", link(5, "bond0", { kind: "bond", up: false })] as const] : []),
        ]);
        const change = (name: string, more: Partial<LinkState>) =>
          links.set(name, { ...(links.get(name) ?? link(index[name] ?? 0, name, { up: false })), ...more });
        for (const operation of plan(raw, [...links.values()])) {
          if (operation.do === "make bond") change(operation.name, { kind: "bond" });
          if (operation.do === "enslave") change(operation.name, { master: 5, up: true });
          if (operation.do === "make VLAN") change(operation.name, { kind: "vlan", vlanId: 7, peerIndex: 5 });
          if (operation.do === "up") change(operation.name, { up: true });
        }
        assert.deepEqual(plan(raw, [...links.values()]), []);
      }),
    );
  });
});
