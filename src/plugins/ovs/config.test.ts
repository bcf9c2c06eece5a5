import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { JsonObject } from "#base";
import { CniError } from "#cni";
import { decodeOvsConfig, readFlatFile, settingsOf } from "./config.ts";

const noArgs = { args: new Map<string, string>() };

function decode(raw: JsonObject) {
  return decodeOvsConfig({ cniVersion: "1.0.0", name: "net", type: "ovs", raw: { bridge: "br1", ...raw } });
}

function settings(raw: JsonObject, args: Readonly<Record<string, string>> = {}) {
  return settingsOf(decode(raw), undefined, { args: new Map(Object.entries(args)) });
}

function refusedField(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof CniError && error.cniCode === 7);
    assert.ok(typeof error.details["allowed"] === "string");
    return error.details["field"];
  }
  return undefined;
}

describe("decodeOvsConfig", () => {
  it("tells access with tag 0 from no VLAN, and lets a trunk win over a tag", () => {
    assert.deepEqual(settings({}).vlan, { mode: "trunk", ids: [] });
    assert.deepEqual(settings({ trunk: [] }).vlan, { mode: "trunk", ids: [] });
    assert.deepEqual(settings({ vlan: 0 }).vlan, { mode: "access", tag: 0 });
    assert.deepEqual(settings({ vlan: 7, trunk: [{ id: 3 }] }).vlan, { mode: "trunk", ids: [3] });
  });

  it("expands trunks to sorted unique ids", () => {
    const id = fc.integer({ min: 1, max: 4095 });
    const range = fc.tuple(id, id).map(([a, b]) => ({ minID: Math.min(a, b), maxID: Math.max(a, b) }));
    const item = fc.oneof(
      id.map((one) => ({ id: one })),
      range,
    );
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 5 }), (trunk) => {
        const { vlan } = settings({ trunk });
        const holds = (one: number) =>
          trunk.some((each) => ("id" in each ? each.id === one : each.minID <= one && one <= each.maxID));
        const expected = Array.from({ length: 4096 }, (_, one) => one).filter(holds);
        assert.deepEqual(vlan, { mode: "trunk", ids: expected });
      }),
      { numRuns: 30 },
    );
  });

  it("ignores a range of which one end is missing or 0, and takes id 0 alone", () => {
    assert.deepEqual(settings({ trunk: [{ id: 0 }, { minID: 0, maxID: 9 }] }).vlan, { mode: "trunk", ids: [0] });
  });

  it("refuses with the field, the value and what is allowed", () => {
    const cases: readonly (readonly [string, JsonObject])[] = [
      ["bridge", { bridge: 1 }],
      ["vlan", { vlan: 4096 }],
      ["vlan", { vlan: "10" }],
      ["mtu", { mtu: -1 }],
      ["mtu", { mtu: 67 }],
      ["trunk", { trunk: [{ minID: 0 }] }],
      ["trunk", { trunk: "all" }],
      ["trunk[1]", { trunk: [{ id: 1 }, { minID: 9, maxID: 3 }] }],
      ["trunk[0].maxID", { trunk: [{ minID: 1, maxID: 4096 }] }],
      ["ofport_request", { ofport_request: 65_280 }],
      ["socket_file", { socket_file: "ssl:1.2.3.4:6640" }],
      ["interface_type", { interface_type: "internal" }],
      ["interface_type", { interface_type: "vxlan" }],
      ["interface_type", { interface_type: "dpdk" }],
      ["args.cni.mac", { args: { cni: { mac: "01:00:00:00:00:01" } } }],
      ["runtimeConfig.mac", { runtimeConfig: { mac: "nonsense" } }],
      ["args", { args: [] }],
    ];
    for (const [field, raw] of cases)
      assert.equal(
        refusedField(() => decode(raw)),
        field,
        JSON.stringify(raw),
      );
  });

  it("says of a number or a flag that is a text that it is one: the sentence shows its value without quotation marks", () => {
    for (const [raw, sentence] of [
      [{ vlan: "10" }, "field vlan, value 10, allowed a whole number from 0 to 4095, without quotation marks"],
      [{ create_bridge: "true" }, "field create_bridge, value true, allowed true or false, without quotation marks"],
      [{ vlan: 4096 }, "field vlan, value 4096, allowed a whole number from 0 to 4095"],
    ] as const) {
      assert.throws(
        () => decode(raw),
        (error) => CniError.from(error).text.endsWith(sentence),
      );
    }
  });

  it("takes MAC and OvnPort from CNI_ARGS before args.cni in any case before runtimeConfig", () => {
    const raw = {
      args: { cni: { Mac: "02:00:00:00:00:02", OVNPORT: "lsp-2", other: 5 } },
      runtimeConfig: { mac: "02:00:00:00:00:03" },
    };
    const all = settings(raw, { MAC: "02:00:00:00:00:0A", OvnPort: "lsp-1" });
    assert.deepEqual([all.mac, all.ifaceId], ["02:00:00:00:00:0a", "lsp-1"]);
    assert.deepEqual([settings(raw).mac, settings(raw).ifaceId], ["02:00:00:00:00:02", "lsp-2"]);
    assert.equal(settings({ ...raw, args: {} }).mac, "02:00:00:00:00:03");
    assert.equal(
      refusedField(() => settings({}, { MAC: "x" })),
      "CNI_ARGS MAC",
    );
  });
});

describe("settingsOf", () => {
  it("uses br-int for a logical port without a bridge, and needs a bridge otherwise", () => {
    assert.equal(settings({ bridge: "" }, { OvnPort: "lsp" }).bridge, "br-int");
    assert.equal(
      refusedField(() => settings({ bridge: "" })),
      "bridge",
    );
  });

  it("makes a bridge only when told to, by default with the kernel's datapath", () => {
    assert.equal(settings({ datapath_type: "netdev" }).createBridge, undefined);
    assert.deepEqual(settings({ create_bridge: true }).createBridge, { datapathType: "system" });
    assert.deepEqual(settings({ create_bridge: true, datapath_type: "netdev" }).createBridge, {
      datapathType: "netdev",
    });
    for (const [key, value] of [
      ["create_bridge", "yes"],
      ["datapath_type", "dpdk"],
      ["bridge", "a name"],
      ["bridge", "sixteen-bytes-16"],
      ["bridge", "a/b"],
      ["bridge", ".."],
    ] as const) {
      assert.equal(
        refusedField(() => settings({ [key]: value })),
        key,
      );
    }
  });

  it("refuses a deviceID and says what is missing", () => {
    assert.throws(() => settings({ deviceID: "0000:01:00.1" }), { cniCode: 2, code: "CNI_UNSUPPORTED_FIELD" });
  });

  it("limits the wait for the port only when told to", () => {
    assert.equal(settings({}).readyMs, undefined);
    assert.equal(settings({ link_state_check_retries: 0, link_state_check_interval: 0 }).readyMs, undefined);
    assert.equal(settings({ link_state_check_retries: 2 }).readyMs, 1200);
    assert.equal(settings({ link_state_check_interval: 100 }).readyMs, 500);
  });
});

describe("readFlatFile", () => {
  it("reads the first file that exists, whose keys count where the configuration has none", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "ovs-flat-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const [absent, first, second] = ["absent", "first", "second"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(first, '{"bridge":"br9","vlan":9,"mtu":1400}');
    writeFileSync(second, "{");
    const flat = readFlatFile(undefined, [absent, first, second]);
    assert.deepEqual(readFlatFile(first, [second]), flat);
    const merged = settingsOf(decode({ bridge: "br1", vlan: 0, mtu: 0 }), flat, noArgs);
    assert.deepEqual([merged.bridge, merged.vlan, merged.mtuBytes], ["br1", { mode: "access", tag: 0 }, 1400]);
    assert.equal(settingsOf(decode({ bridge: "" }), flat, noArgs).bridge, "br9");
    assert.throws(() => readFlatFile(second, [first]), { cniCode: 7 });
    assert.equal(readFlatFile(absent, []), undefined);
  });

  it("reads nothing that may have no end", () => {
    for (const path of ["/dev/zero", "/proc/kmsg", tmpdir()]) {
      assert.throws(() => readFlatFile(path, []), { cniCode: 7 }, path);
    }
  });
});
