import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import * as api from "./index.ts";

const folder = new URL("../../examples/", import.meta.url);

const manifests = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".yaml"))
  .flatMap((name) =>
    parseAllDocuments(readFileSync(new URL(name, folder), "utf8")).map((document) => {
      assert.deepEqual(document.errors, [], name);
      return [name, document.toJS() as api.Submitted<api.SpiderIPPool & api.SpiderMultusConfig>] as const;
    }),
  );

describe("the examples", () => {
  for (const [name, object] of manifests.filter(([, { kind }]) => kind === "SpiderIPPool")) {
    test(`the pool of ${name} is admitted`, () =>
      assert.deepEqual(api.validatePool(api.defaultPool(object)).map(api.formatViolation), []));
  }
  for (const [name, object] of manifests.filter(([, { kind }]) => kind === "SpiderMultusConfig")) {
    test(`the network of ${name} is admitted without warning`, () => {
      const admitted = api.defaultMultusConfig(object);
      assert.deepEqual(api.validateMultusConfig(admitted).map(api.formatViolation), []);
      assert.deepEqual(api.warnOfMultusConfig(admitted), []);
    });
  }

  test("the network of Open vSwitch has the ovs plugin, our IPAM and the coordinator", () => {
    const [, network] = manifests.find(([name]) => name === "ovs/network.yaml") ?? assert.fail("it is missing");
    const { metadata, spec } = api.renderNetwork(api.defaultMultusConfig(network) as api.SpiderMultusConfig);
    assert.deepEqual([metadata.namespace, metadata.name], ["kube-system", "ovs-conf"]);
    assert.equal(
      spec?.config,
      '{"cniVersion":"0.3.1","name":"ovs-conf","plugins":[{"type":"ovs","bridge":"br1","ipam":{"type":"spiderpool"}},{"type":"coordinator"}]}',
    );
  });
});
