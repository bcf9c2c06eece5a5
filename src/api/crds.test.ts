import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crds } from "./crds.ts";
import * as api from "./index.ts";
import type { CelRule } from "./schema/crd.ts";

const all = [...crds.values()];

function crdOfKind(kind: string) {
  const crd = all.find(({ spec }) => spec.names.kind === kind) ?? assert.fail(`no CRD of ${kind}`);
  const [version] = crd.spec.versions;
  return { ...crd.spec, version: version ?? assert.fail("no version") };
}

/** Every schema in a schema, with its path. */
function* schemas(schema: unknown, path = ""): Generator<readonly [string, Readonly<Record<string, unknown>>]> {
  if (typeof schema !== "object" || schema === null) return;
  const node = schema as Readonly<Record<string, unknown>>;
  yield [path, node];
  for (const [name, inner] of Object.entries(node["properties"] ?? {})) yield* schemas(inner, `${path}.${name}`);
  yield* schemas(node["items"], `${path}[]`);
}

describe("the CustomResourceDefinitions", () => {
  test("have the names, scope and status endpoint that users and tools rely on", () => {
    const facts = all.map(({ spec: { names, scope, versions } }) => [
      names.kind,
      names.plural,
      ...(names.shortNames || []),
      scope,
      versions[0]?.subresources ? "status" : "",
    ]);
    assert.deepEqual(facts.toSorted(), [
      ["NetworkAttachmentDefinition", "network-attachment-definitions", "net-attach-def", "Namespaced", ""],
      ["SpiderCoordinator", "spidercoordinators", "scc", "Cluster", "status"],
      ["SpiderEndpoint", "spiderendpoints", "se", "Namespaced", ""],
      ["SpiderIPAddress", "spideripaddresses", "sia", "Cluster", ""],
      ["SpiderIPPool", "spiderippools", "sp", "Cluster", "status"],
      ["SpiderMultusConfig", "spidermultusconfigs", "smc", "Namespaced", ""],
      ["SpiderPoolUsage", "spiderpoolusages", "spu", "Cluster", ""],
      ["SpiderReservedIP", "spiderreservedips", "sr", "Cluster", ""],
      ["SpiderSubnet", "spidersubnets", "ss", "Cluster", "status"],
    ]);
    for (const { spec } of all.filter(({ spec }) => spec.group === api.apiGroup)) {
      assert.deepEqual(spec.names.categories, ["spiderpool"]);
      assert.equal(spec.names.singular, spec.names.kind.toLowerCase());
      assert.deepEqual(
        spec.versions.map(({ name, served, storage }) => [name, served, storage]),
        [["v2beta1", true, true]],
      );
    }
  });

  test("have the documented columns, in order", () => {
    const columns = (kind: string) =>
      (crdOfKind(kind).version.additionalPrinterColumns || []).map(
        ({ name, type, jsonPath, priority = 0 }) => `${name} ${type} ${jsonPath} ${priority}`,
      );
    assert.deepEqual(columns("SpiderIPPool"), [
      "VERSION string .spec.ipVersion 0",
      "SUBNET string .spec.subnet 0",
      "ALLOCATED-IP-COUNT integer .status.allocatedIPCount 0",
      "TOTAL-IP-COUNT integer .status.totalIPCount 0",
      "DEFAULT boolean .spec.default 0",
      "DISABLE boolean .spec.disable 10",
      "NodeName string .spec.nodeName 10",
      "MultusName string .spec.multusName 10",
      String.raw`APP-NAMESPACE string .spec.podAffinity.matchLabels['ipam\.spidernet\.io/app\-namespace'] 10`,
    ]);
    assert.deepEqual(columns("SpiderSubnet"), columns("SpiderIPPool").slice(0, 4));
    assert.deepEqual(columns("SpiderEndpoint"), [
      "INTERFACE string .status.current.ips[0].interface 0",
      "IPV4POOL string .status.current.ips[0].ipv4Pool 0",
      "IPV4 string .status.current.ips[0].ipv4 0",
      "IPV6POOL string .status.current.ips[0].ipv6Pool 0",
      "IPV6 string .status.current.ips[0].ipv6 0",
      "NODE string .status.current.node 0",
    ]);
    assert.deepEqual(columns("SpiderReservedIP"), ["VERSION string .spec.ipVersion 0"]);
    assert.deepEqual(columns("SpiderCoordinator"), []);
    assert.deepEqual(columns("SpiderMultusConfig"), []);
  });

  test("have defaults, except where absence has a meaning of its own", () => {
    const defaults = (kind: string) =>
      Object.fromEntries(
        Array.from(schemas(crdOfKind(kind).version.schema.openAPIV3Schema))
          .filter(([, schema]) => "default" in schema)
          .map(([path, schema]) => [path, schema["default"]]),
      );
    assert.deepEqual(defaults("SpiderIPPool"), { ".spec.default": false, ".spec.disable": false });
    assert.deepEqual(defaults("SpiderCoordinator"), {
      ".spec.mode": "auto",
      ".spec.tunePodRoutes": true,
      ".spec.hostRuleTable": 500,
      ".spec.podRPFilter": 0,
      ".spec.txQueueLen": 0,
    });
    assert.deepEqual(
      Object.keys(defaults("SpiderMultusConfig")).filter((path) => /coordinator\.|ovs\.vlan/.test(path)),
      [],
    );
  });

  test("are structural: every schema has a type, and every rule a message", () => {
    for (const { spec } of all) {
      for (const [path, schema] of schemas(spec.versions[0]?.schema.openAPIV3Schema)) {
        assert.equal(typeof schema["type"], "string", `${spec.names.kind}${path}`);
        for (const { rule, message } of (schema["x-kubernetes-validations"] as CelRule[] | undefined) ?? []) {
          assert.ok(rule && message, `${spec.names.kind}${path}: ${rule}`);
        }
      }
    }
  });

  test("describe the resources that the programs ask for", () => {
    const resources = Object.values(api).filter((value) => typeof value === "object" && "plural" in value);
    assert.deepEqual(
      resources
        .map(({ group, version, plural, kind, namespaced }) => [group, version, plural, kind, namespaced])
        .toSorted(),
      all
        .map(({ spec: { group, versions, names, scope } }) => [
          group,
          versions[0]?.name,
          names.plural,
          names.kind,
          scope === "Namespaced",
        ])
        .toSorted(),
    );
  });
});
