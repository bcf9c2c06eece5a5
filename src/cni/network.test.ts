import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { JsonObject } from "#base";
import { CniError } from "./errors.ts";
import { pluginsMax } from "./limits.ts";
import { appendPlugins, decodeNetwork, pluginInput, validAttachments } from "./network.ts";
import { decodeResult } from "./result.ts";

const list = { cniVersion: "1.0.0", name: "net", plugins: [{ type: "macvlan", mtu: 1400 }, { type: "tuning" }] };

function refusal(config: JsonObject): string {
  try {
    decodeNetwork(config);
  } catch (error) {
    assert.ok(error instanceof CniError, String(error));
    return `${error.cniCode} ${error.text || error.message}`;
  }
  assert.fail("accepted");
}

describe("decodeNetwork()", () => {
  it("reads a list, and makes a list of a single plugin", () => {
    const network = decodeNetwork(JSON.stringify(list));
    assert.deepEqual(
      network.plugins.map(({ type }) => type),
      ["macvlan", "tuning"],
    );
    const single = decodeNetwork({ name: "one", type: "bridge", bridge: "b" });
    assert.deepEqual([single.name, single.cniVersion, single.plugins.length], ["one", "0.1.0", 1]);
    assert.deepEqual(single.plugins[0]?.raw["bridge"], "b");
  });

  it("takes defaults for a missing name and version", () => {
    const network = decodeNetwork({ type: "x" }, { name: "nad", version: "0.3.1" });
    assert.deepEqual([network.name, network.cniVersion], ["nad", "0.3.1"]);
  });

  it("chooses the highest known of cniVersions", () => {
    assert.equal(decodeNetwork({ ...list, cniVersions: ["0.4.0", "1.1.0", "7.0.0"] }).cniVersion, "1.1.0");
    assert.equal(decodeNetwork({ ...list, cniVersions: ["0.4.0"] }).cniVersion, "1.0.0");
    assert.equal(decodeNetwork({ ...list, cniVersion: "7.0.0", cniVersions: ["0.4.0"] }).cniVersion, "0.4.0");
  });

  it("refuses a version that is not known, before a plugin has run whose result could not be read", () => {
    assert.match(
      refusal({ ...list, cniVersion: "7.0.0" }),
      /^1 .*field cniVersion, found 7\.0\.0, allowed \[.*"1\.1\.0"\]/,
    );
  });

  it("takes flags as words, too", () => {
    const network = decodeNetwork({ ...list, disableCheck: "true", disableGC: true });
    assert.deepEqual([network.disableCheck, network.disableGc, network.loadOnlyInlinedPlugins], [true, true, true]);
  });

  it("says which field is wrong", () => {
    assert.equal(refusal({ ...list, disableGC: 1 }), "7 network net, field disableGC, found 1, allowed true or false");
    assert.equal(
      refusal({ ...list, plugins: [] }),
      "7 network net, field plugins, found none, allowed at least one plugin",
    );
    assert.equal(refusal({ ...list, plugins: {} }), "7 network net, field plugins, found an object, allowed an array");
    assert.match(refusal({ ...list, plugins: [{ type: "../sh" }] }), /field plugins\[0\]\.type, found \.\.\/sh/);
    assert.match(refusal({ ...list, plugins: [{}] }), /field plugins\[0\]\.type, found nothing/);
    assert.match(refusal({ ...list, plugins: Array(pluginsMax + 1).fill({ type: "x" }) }), /allowed at most 64/);
    assert.equal(refusal({ type: "x" }), "7 missing network name");
    assert.throws(() => decodeNetwork("no"), { cniCode: 6 });
  });

  it("never throws anything but a CniError, whatever the configuration", () => {
    const key = fc.constantFrom("name", "type", "plugins", "cniVersion", "cniVersions", "disableGC", "x");
    const value = fc.oneof(
      fc.constantFrom<unknown>("n", "1.0.0", true, null, [{ type: "p" }]),
      fc.jsonValue({ maxDepth: 2 }),
    );
    fc.assert(
      fc.property(fc.dictionary(key, value), (config) => {
        try {
          decodeNetwork(config);
        } catch (error) {
          assert.ok(error instanceof CniError, String(error));
        }
      }),
    );
  });

  it("may be empty where plugin files follow, which are then appended", () => {
    const network = decodeNetwork({ name: "net", loadOnlyInlinedPlugins: false });
    assert.throws(() => appendPlugins(network, []), { cniCode: 7 });
    assert.deepEqual(
      appendPlugins(network, ['{"type":"a"}']).plugins.map(({ type }) => type),
      ["a"],
    );
  });
});

describe("pluginInput()", () => {
  const plugin = { type: "p", raw: { type: "p", name: "other", mtu: 1, capabilities: { ips: true, mac: false } } };
  const network = { ...decodeNetwork(list), plugins: [plugin] };

  it("adds name and version, and of capability values those that the plugin declares", () => {
    assert.deepEqual(pluginInput(network, plugin, { capabilityArgs: { ips: ["1.2.3.4"], mac: "x", bandwidth: {} } }), {
      ...plugin.raw,
      name: "net",
      cniVersion: "1.0.0",
      runtimeConfig: { ips: ["1.2.3.4"] },
    });
    assert.ok(!("runtimeConfig" in pluginInput(network, plugin, { capabilityArgs: { mac: "x" } })));
  });

  it("writes the previous result in the network's version", () => {
    const prevResult = decodeResult({ cniVersion: "0.3.1", ips: [{ version: "4", address: "10.0.0.1/8" }] });
    const input = pluginInput(network, plugin, { prevResult });
    assert.deepEqual(input["prevResult"], { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/8" }] });
  });

  it("writes the list of a GC so that validAttachments() reads it", () => {
    const valid = [{ containerId: "c", ifName: "eth0" }];
    assert.deepEqual(validAttachments(pluginInput(network, plugin, { validAttachments: valid })), valid);
  });
});

describe("validAttachments()", () => {
  it("is empty when absent and refuses what it can't read", () => {
    assert.deepEqual(validAttachments({}), []);
    assert.deepEqual(validAttachments({ "cni.dev/attachments": [{ containerID: "c", ifname: "e" }] }), [
      { containerId: "c", ifName: "e" },
    ]);
    for (const bad of ["x", [{ containerID: "c" }], [null]]) {
      assert.throws(() => validAttachments({ "cni.dev/valid-attachments": bad }), CniError);
    }
  });
});
