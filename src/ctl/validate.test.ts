import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spiderIPPools } from "#api";
import { FakeApi } from "../kube/testing/fake-api.ts";
import { runCtl } from "./testing/run.ts";

const pool = (name: string, spec: object) => ({
  apiVersion: "spiderpool.spidernet.io/v2beta1",
  kind: "SpiderIPPool",
  metadata: { name },
  spec,
});
const good = pool("a", { subnet: "10.6.0.0/16", ips: ["10.6.0.10-10.6.0.20"] });

describe("spiderpoolctl validate", () => {
  const validate = (api: FakeApi, ...manifests: readonly object[]) =>
    runCtl(api, ["validate", "-f", "x.yaml"], {
      "x.yaml": manifests.map((one) => JSON.stringify(one)).join("\n---\n"),
    });

  it("accepts objects that admission accepts", async () => {
    assert.deepEqual(await validate(new FakeApi(), good), { status: 0, out: "spiderippool/a is valid\n", err: "" });
  });

  it("says the same to programs and shells", async () => {
    const files = { "x.yaml": JSON.stringify({ ...good, spec: { subnet: 5 } }), "y.yaml": JSON.stringify(good) };
    const { status, out } = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml", "-o", "json"], files);
    const [{ object, valid, problems }] = JSON.parse(out).items;
    assert.deepEqual([status, object, valid, problems[0].field], [1, "spiderippool/a", false, "spec.subnet"]);
    assert.match(problems[0].place, /^x\.yaml, line 1$/);
    const named = await runCtl(new FakeApi(), ["validate", "-f", "y.yaml", "-o", "name"], files);
    assert.equal(named.out, "spiderippool.spiderpool.spidernet.io/a\n");
  });

  it("names every field that breaks a rule, with its value", async () => {
    const { status, err } = await validate(new FakeApi(), pool("a", { subnet: "10.6.0.1/16", ips: ["10.7.0.9"] }));
    assert.equal(status, 1);
    assert.match(err, /^spiderippool\/a: spec\.subnet: Invalid value: "10\.6\.0\.1\/16": unformatted subnet/m);
    assert.match(err, /^spiderippool\/a: spec\.ips/m);
  });

  it("checks against the cluster and earlier manifests, which replace stored objects of the same name", async () => {
    const api = new FakeApi();
    api.apply(spiderIPPools, { metadata: { name: "stored" }, spec: { ...good.spec, ipVersion: 4 } });
    const overlapping = await validate(api, good);
    assert.match(overlapping.err, /stored/);
    assert.equal((await validate(api, pool("stored", good.spec))).status, 0);
    assert.match((await validate(new FakeApi(), good, pool("b", good.spec))).err, /^spiderippool\/b: .*IPPool a/);
  });

  it("checks the kind's schema first, and names file and line, in several documents and in Lists", async () => {
    const file = `# two pools
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: a}
spec:
  subnett: 10.6.0.0/16
  ips:
    - 10.6.0.10
    - 5
  vlan: 3
---
apiVersion: v1
kind: List
items:
  - apiVersion: spiderpool.spidernet.io/v2beta1
    kind: SpiderIPPool
    metadata: {name: b, labels: {tier: 1}}
    spec:
      subnet: 10.7.0.1/16
  - apiVersion: spiderpool.spidernet.io/v2beta1
    kind: SpiderIPPool
    metadata: {name: c}
    spec:
      subnet: 10.7.0.1/16
`;
    const { status, err } = await runCtl(new FakeApi(), ["validate", "-f", "x.yaml"], { "x.yaml": file });
    assert.equal(status, 1);
    const lines = err.trimEnd().split("\n");
    assert.deepEqual(lines.slice(0, 5), [
      "spiderippool/a: spec.subnet: Required value (x.yaml, line 5)",
      'spiderippool/a: spec.subnett: unknown field "subnett": did you mean subnet? (x.yaml, line 6)',
      'spiderippool/a: spec.ips[1]: Invalid value: "integer": spec.ips[1] in body must be of type string: "integer" (x.yaml, line 9)',
      lines[3],
      'spiderippool/b: metadata.labels.tier: Invalid value: "integer": metadata.labels.tier in body must be of type string: "integer" (x.yaml, line 17)',
    ]);
    assert.match(
      lines[3] ?? "",
      /^spiderippool\/a: spec\.vlan: unknown field "vlan": known are .*gateway.* \(x\.yaml, line 10\)$/,
    );
    assert.match(lines[5] ?? "", /^spiderippool\/c: spec\.subnet: Invalid value: .* \(x\.yaml, line 24\)$/);
  });

  it("refuses a file without objects of ours", async () => {
    const { status, err } = await validate(new FakeApi(), { ...good, kind: "SpiderPool" });
    assert.equal(status, 1);
    assert.match(err, /kind: Unsupported value: "SpiderPool"/);
    assert.equal((await validate(new FakeApi(), { kind: "Pod", apiVersion: "v1", metadata: {} })).status, 2);
    assert.equal((await runCtl(new FakeApi(), ["validate", "-f", "x"], { x: "a: [" })).status, 2);
  });
});
