import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Cache } from "./cache.ts";
import { decodeUuids } from "./values.ts";

/** Which bridge holds which ports: what a database may look like at one moment. */
type Model = Readonly<Record<string, readonly string[]>>;

const bridgeNames = ["br1", "br2", "br3"] as const;
const portNames = ["a", "b", "c", "d"] as const;

/** Every port is at one bridge, or at none and then does not exist. */
const model: fc.Arbitrary<Model> = fc
  .record({
    bridges: fc.subarray([...bridgeNames]),
    places: fc.tuple(...portNames.map(() => fc.constantFrom(...bridgeNames, undefined))),
  })
  .map(({ bridges, places }) =>
    Object.fromEntries(bridges.map((bridge) => [bridge, portNames.filter((_, at) => places[at] === bridge)])),
  );

interface Rows {
  readonly Bridge: Readonly<Record<string, object>>;
  readonly Port: Readonly<Record<string, object>>;
  readonly Interface: Readonly<Record<string, object>>;
}

function rowsOf(database: Model): Rows {
  const ports = Object.values(database).flat();
  const uuids = (names: readonly string[]) => names.map((name) => ["uuid", `p-${name}`]);
  return {
    Bridge: Object.fromEntries(
      Object.entries(database).map(([name, held]) => {
        const [only] = uuids(held);
        return [`b-${name}`, { name, ports: held.length === 1 ? only : ["set", uuids(held)], datapath_type: "netdev" }];
      }),
    ),
    Port: Object.fromEntries(ports.map((name) => [`p-${name}`, { name, interfaces: ["uuid", `i-${name}`], tag: 1 }])),
    Interface: Object.fromEntries(ports.map((name) => [`i-${name}`, { name, type: "", ofport: 5 }])),
  };
}

/** The update that leads from one moment to the next, as a monitor sends it: of the ports of a bridge only what came and went. */
function updateOf(before: Rows, after: Rows): object {
  const tables = (["Bridge", "Port", "Interface"] as const).map((table) => {
    const uuids = new Set([...Object.keys(before[table]), ...Object.keys(after[table])]);
    const changed = [...uuids].filter(
      (uuid) => JSON.stringify(before[table][uuid]) !== JSON.stringify(after[table][uuid]),
    );
    const updates = changed.map((uuid) => {
      const [had, has] = [before[table][uuid], after[table][uuid]];
      if (has === undefined) return [uuid, { delete: null }];
      return [uuid, had === undefined ? { insert: has } : { modify: { ports: difference(had, has) } }];
    });
    return [table, Object.fromEntries(updates)];
  });
  return Object.fromEntries(tables);
}

/** Bridges differ in nothing but their ports. */
function difference(...rows: readonly [{ readonly ports?: unknown }, { readonly ports?: unknown }]): unknown {
  const [had, has] = rows.map(({ ports }) => new Set(decodeUuids(ports)));
  return ["set", [...(had ?? new Set()).symmetricDifference(has ?? new Set())].map((uuid) => ["uuid", uuid])];
}

describe("Cache", () => {
  it("is after any updates what a new snapshot would be", () => {
    fc.assert(
      fc.property(fc.array(model, { maxLength: 8 }), (moments) => {
        const cache = new Cache();
        let before = rowsOf({});
        for (const moment of moments) {
          const after = rowsOf(moment);
          cache.apply(updateOf(before, after));
          before = after;

          const bridges = [...cache.bridges().values()].map(({ name, ports }) => [name, ports]);
          assert.deepEqual(Object.fromEntries(bridges), moment);
          const held = Object.entries(moment).flatMap(([bridge, names]) => names.map((name) => [name, bridge]));
          const ports = [...cache.ports().values()];
          assert.deepEqual(
            Object.fromEntries(ports.map(({ name, bridge }) => [name, bridge])),
            Object.fromEntries(held),
          );
          for (const port of ports) assert.deepEqual(cache.port(port.name), port);
        }
      }),
    );
  });

  it("reads a port without vlan_mode as access when it has a tag, and an absent datapath_type as the kernel's", () => {
    const cache = new Cache();
    const { Bridge, ...others } = rowsOf({ br1: ["a"] });
    assert.equal(Object.keys(Bridge).length, 1);
    cache.apply(updateOf(rowsOf({}), { ...others, Bridge: { b: { name: "br1", ports: ["uuid", "p-a"] } } }));
    assert.deepEqual(cache.port("a")?.vlan, { mode: "access", tag: 1 });
    assert.equal(cache.bridges().get("br1")?.datapathType, "system");
    assert.equal(cache.port("a")?.owner, undefined);
  });

  it("survives rows of any shape", () => {
    const how = fc.constantFrom("initial", "insert", "modify", "delete");
    fc.assert(
      fc.property(fc.jsonValue(), how, (updates, kind) => {
        const cache = new Cache();
        cache.apply({ Port: updates, Bridge: { b: { [kind]: updates } } });
        cache.apply({ Bridge: { b: { modify: updates } }, Interface: { i: { modify: updates } } });
        cache.bridges();
      }),
    );
  });
});
