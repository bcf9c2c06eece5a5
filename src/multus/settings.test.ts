import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JsonObject } from "#base";
import { CniError } from "#cni";
import { decodeSettings } from "./settings.ts";

const minimal = { clusterNetwork: "x" };

describe("the settings of a multus configuration", () => {
  it("have these defaults", () => {
    assert.deepEqual(decodeSettings(minimal), {
      cniVersion: "0.3.1",
      clusterNetwork: "x",
      fallbackNetwork: "",
      delegates: [],
      defaultNetworks: [],
      multusNamespace: "kube-system",
      systemNamespaces: ["kube-system"],
      namespaceIsolation: false,
      globalNamespaces: ["default"],
      confDir: "/etc/cni/multus/net.d",
      readinessIndicatorFile: "",
      auxiliaryChainName: "",
    });
  });

  it("take an empty text and null for a missing one, and trim the list of global namespaces", () => {
    const empty = {
      multusNamespace: "",
      confDir: null,
      cniVersion: "",
      systemNamespaces: null,
      namespaceIsolation: null,
    };
    assert.deepEqual(decodeSettings({ ...minimal, ...empty }), decodeSettings(minimal));
    assert.deepEqual(decodeSettings({ ...minimal, globalNamespaces: " a ,b" }).globalNamespaces, ["a", "b"]);
    assert.deepEqual(decodeSettings({ ...minimal, systemNamespaces: [] }).systemNamespaces, []);
  });

  it("need a default network, named or inline", () => {
    const message = "at least one delegate/clusterNetwork must be specified";
    for (const none of [{}, { clusterNetwork: "" }, { delegates: [] }]) {
      assert.throws(() => decodeSettings(none), { cniCode: 7, message });
    }
    assert.equal(decodeSettings({ delegates: [{ type: "bridge" }] }).delegates.length, 1);
  });

  const wrong: readonly (readonly [JsonObject, string])[] = [
    ...[
      ...["cniVersion", "clusterNetwork", "fallbackNetwork", "multusNamespace", "globalNamespaces"],
      ...["confDir", "readinessindicatorfile", "auxiliaryCNIChainName"],
    ].map((key) => [{ [key]: 7 }, `field ${key}, found 7, allowed a string`] as const),
    [{ namespaceIsolation: "yes" }, "field namespaceIsolation, found yes, allowed true or false"],
    [{ delegates: ["x"] }, 'field delegates, found ["x"], allowed a list'],
    [{ defaultNetworks: "x" }, "field defaultNetworks, found x, allowed a list"],
    [{ systemNamespaces: [1] }, "field systemNamespaces, found [1], allowed a list"],
  ];
  for (const [config, text] of wrong) {
    it(`are refused: ${JSON.stringify(config)}`, () => {
      assert.throws(
        () => decodeSettings({ ...minimal, ...config }),
        (error) => {
          assert.ok(error instanceof CniError);
          assert.deepEqual([error.cniCode, error.message], [7, "invalid multus configuration"]);
          assert.equal(error.text, text);
          return true;
        },
      );
    });
  }
});
