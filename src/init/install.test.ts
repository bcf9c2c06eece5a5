import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { spiderCoordinators, spiderIPPools } from "#api";
import { differencesOf, install, readWanted } from "./install.ts";
import { isFinal } from "./retry.ts";
import { world } from "./testing/world.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-init-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const wanted = `
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderCoordinator
metadata: {name: default}
spec: {"mode": "auto", "vethMTU": 1500}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: p}
spec: {"subnet": "172.18.0.0/16", "ips": ["172.18.1.1"]}
`;
const options = { command: "install", kubeconfig: undefined, namespace: "kube-system", cniConfDir: undefined } as const;

describe("install()", () => {
  it("creates absent objects, and compares existing ones without changing them", async () => {
    const { api, deps, said, finish, o } = world();
    api.apply(spiderCoordinators, { metadata: { name: "default" }, spec: { mode: "underlay", vethMTU: 1500 } });
    await finish(install({ ...options, objects: write("objects", wanted) }, deps, o));
    assert.deepEqual(said, [
      'SpiderCoordinator default: is there, left as it is, although spec.mode is "underlay", not "auto"',
      "SpiderIPPool p: created",
    ]);
    assert.equal(api.read(spiderIPPools, { name: "p" })?.spec.subnet, "172.18.0.0/16");
    said.length = 0;
    await finish(install({ ...options, objects: join(folder, "objects") }, deps, o));
    assert.equal(said.filter((line) => line.endsWith("created")).length, 0);
  });

  it("waits for a controller that is not there yet, and gives up at once if it is refused", async () => {
    const { api, deps, said, finish, o } = world();
    const objects = write("objects", wanted);
    const posts = ({ method }: { readonly method: string }) => method === "POST";
    api.fail(posts, { kind: "status", status: 500, reason: "InternalError" }, 3);
    api.fail(posts, { kind: "lost-after" });
    await finish(install({ ...options, objects }, deps, o));
    assert.ok(api.read(spiderIPPools, { name: "p" }) !== undefined);
    assert.equal(said.filter((line) => line.startsWith("waiting: injected InternalError")).length, 1);

    api.remove(spiderIPPools, { name: "p" });
    api.fail(posts, { kind: "status", status: 422, reason: "Invalid" });
    await assert.rejects(finish(install({ ...options, objects }, deps, o)), (error) => isFinal(error));
  });

  it("refuses objects of other kinds", () => {
    assert.throws(() => readWanted("kind: Secret\nmetadata: {name: a}"), /"Secret", allowed are SpiderCoordinator/);
  });

  it("finds the resource of each object by its kind", () => {
    assert.deepEqual(
      readWanted(wanted).map(({ resource }) => resource),
      [spiderCoordinators, spiderIPPools],
    );
  });
});

describe("differencesOf()", () => {
  it("names differing fields, and ignores fields that were not wanted", () => {
    assert.deepEqual(differencesOf({ a: 1, b: { c: [1] } }, { a: 1, b: { c: [1], d: 2 }, e: 3 }), []);
    assert.deepEqual(differencesOf({ b: { c: [1] } }, { b: { c: [2] } }), ["spec.b.c is [2], not [1]"]);
  });
});
