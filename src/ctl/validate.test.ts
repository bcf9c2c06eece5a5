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

  it("accepts what admission accepts", async () => {
    assert.deepEqual(await validate(new FakeApi(), good), { status: 0, out: "spiderippool/a is valid\n", err: "" });
  });

  it("names every field that breaks a rule, with its value", async () => {
    const { status, err } = await validate(new FakeApi(), pool("a", { subnet: "10.6.0.1/16", ips: ["10.7.0.9"] }));
    assert.equal(status, 1);
    assert.match(err, /^spiderippool\/a: spec\.subnet: Invalid value: "10\.6\.0\.1\/16": unformatted subnet/m);
    assert.match(err, /^spiderippool\/a: spec\.ips/m);
  });

  it("judges against the cluster and against the manifests before it, an object of the same name being replaced", async () => {
    const api = new FakeApi();
    api.apply(spiderIPPools, { metadata: { name: "stored" }, spec: { ...good.spec, ipVersion: 4 } });
    const overlapping = await validate(api, good);
    assert.match(overlapping.err, /stored/);
    assert.equal((await validate(api, pool("stored", good.spec))).status, 0);
    assert.match((await validate(new FakeApi(), good, pool("b", good.spec))).err, /^spiderippool\/b: .*IPPool a/);
  });

  it("refuses what is no object of ours", async () => {
    const { status, err } = await validate(new FakeApi(), { ...good, kind: "SpiderPool" });
    assert.equal(status, 1);
    assert.match(err, /kind: Unsupported value: "SpiderPool"/);
    assert.equal((await validate(new FakeApi(), { kind: "Pod", apiVersion: "v1", metadata: {} })).status, 2);
    assert.equal((await runCtl(new FakeApi(), ["validate", "-f", "x"], { x: "a: [" })).status, 2);
  });
});
