import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Body } from "./api.ts";
import { jsonPatch, map, maps, merge, refused, type Suite, strategic } from "./suite.ts";
import { widget, widgets } from "./widgets.ts";

/** How objects are created, updated, patched and deleted, and what of it is refused. */
export function writing({ call, made, names }: Suite): void {
  describe("creating", () => {
    it("gives identity, and a name only once", async () => {
      const { metadata } = await made(maps, map("once"));
      assert.match(metadata.uid, /^[0-9a-f-]{36}$/);
      assert.match(metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.match(metadata.resourceVersion, /^\d+$/);
      refused(await call("POST", maps, map("once")), 409, "AlreadyExists", 'configmaps "once" already exists');
      const generated = await made(maps, map("", { name: undefined, generateName: "made-" }));
      assert.match(generated.metadata.name, /^made-[a-z0-9]{5}$/);
    });

    it("refuses what is no object of that place", async () => {
      const elsewhere = map("x", { namespace: "kube-system" });
      const words = "the namespace of the provided object does not match the namespace sent on the request";
      refused(await call("POST", maps, elsewhere), 400, "BadRequest", words);
      const { status, body } = await call("POST", maps, map("x", { resourceVersion: "7" }));
      assert.deepEqual([status, body.message], [500, "resourceVersion should not be set on objects to be created"]);
      refused(
        await call("POST", maps, map("Not_A_Name")),
        422,
        "Invalid",
        /metadata\.name: Invalid value: "Not_A_Name"/,
      );
      const nowhere = "/api/v1/namespaces/nowhere/configmaps";
      refused(await call("POST", nowhere, map("x")), 404, "NotFound", 'namespaces "nowhere" not found');
      refused(await call("POST", maps, map("x", { labels: { a: "no label!" } })), 422, "Invalid", /metadata\.labels/);
    });

    it("tells what is not there", async () => {
      refused(await call("GET", `${maps}/absent`), 404, "NotFound", 'configmaps "absent" not found');
      const { details } = (await call("GET", `${widgets}/absent`)).body;
      assert.deepEqual(details, { name: "absent", group: "conformance.example.com", kind: "widgets" });
      assert.equal((await call("GET", "/apis/no.such.group/v1/things")).status, 404);
    });
  });

  describe("updating", () => {
    it("refuses who missed a change, and keeps the version where nothing changes", async () => {
      const first = await made(maps, map("raced"));
      const { body: second } = await call("PUT", `${maps}/raced`, { ...first, data: { a: "1" } });
      assert.notEqual(second.metadata.resourceVersion, first.metadata.resourceVersion);
      const words =
        'Operation cannot be fulfilled on configmaps "raced": the object has been modified; please apply your changes to the latest version and try again';
      refused(await call("PUT", `${maps}/raced`, { ...first, data: { a: "2" } }), 409, "Conflict", words);
      const { body: same } = await call("PUT", `${maps}/raced`, second);
      assert.equal(same.metadata.resourceVersion, second.metadata.resourceVersion);
    });

    it("of a custom object needs its version, of a built-in one does not", async () => {
      await made(maps, map("unversioned"));
      assert.equal((await call("PUT", `${maps}/unversioned`, map("unversioned", {}, { a: "1" }))).status, 200);
      await made(widgets, widget("unversioned"));
      const words = /metadata\.resourceVersion: Invalid value: .*must be specified for an update/;
      refused(await call("PUT", `${widgets}/unversioned`, widget("unversioned")), 422, "Invalid", words);
    });

    it("keeps identity: another UID is another object, another name no update", async () => {
      const first = await made(maps, map("identity"));
      const uid = "6d8f7c1e-0000-4000-8000-000000000000";
      const other = { ...first, metadata: { ...first.metadata, uid } };
      assert.equal((await call("PUT", `${maps}/identity`, other)).status, 409);
      const renamed = { ...first, metadata: { ...first.metadata, name: "renamed" } };
      refused(await call("PUT", `${maps}/identity`, renamed), 400, "BadRequest", /the name of the object \(renamed/);
    });

    it("counts generations of what is wanted, and no others", async () => {
      const first = await made(widgets, widget("counted"));
      assert.equal(first.metadata.generation, 1);
      const { body: labelled } = await call("PATCH", `${widgets}/counted`, { metadata: { labels: { a: "b" } } }, merge);
      assert.equal(labelled.metadata.generation, 1);
      const { body: changed } = await call("PATCH", `${widgets}/counted`, { spec: { count: 5 } }, merge);
      assert.equal(changed.metadata.generation, 2);
      const { body: seen } = await call("PATCH", `${widgets}/counted/status`, { status: { seen: 1 } }, merge);
      assert.equal(seen.metadata.generation, 2);
    });

    it("of the status changes the status alone, and of the object leaves it", async () => {
      const first = await made(widgets, { ...widget("halves"), status: { seen: 9 } });
      assert.equal(first.status, undefined, "a create brings no status");
      const both = { ...first, spec: { mode: "fast" }, status: { seen: 1 } };
      const { body: status } = await call("PUT", `${widgets}/halves/status`, both);
      assert.deepEqual([status.spec.mode, status.status.seen], ["slow", 1]);
      const { body: spec } = await call("PUT", `${widgets}/halves`, { ...status, spec: { mode: "fast" }, status: {} });
      assert.deepEqual([spec.spec.mode, spec.status.seen], ["fast", 1]);
    });
  });

  describe("patching", () => {
    it("merges: null removes, lists are replaced", async () => {
      await made(widgets, widget("merged", { mode: "slow", ips: ["10.0.0.1", "10.0.0.2"], limits: { a: 1, b: 2 } }));
      const patch = { spec: { ips: ["10.0.0.3"], limits: { a: null, c: 3 } } };
      const { body } = await call("PATCH", `${widgets}/merged`, patch, merge);
      assert.deepEqual([body.spec.ips, body.spec.limits], [["10.0.0.3"], { b: 2, c: 3 }]);
    });

    it("with a version that is no longer is a conflict", async () => {
      const { metadata } = await made(maps, map("stale"));
      await call("PATCH", `${maps}/stale`, { data: { a: "1" } }, merge);
      const patch = { metadata: { resourceVersion: metadata.resourceVersion }, data: { a: "2" } };
      refused(await call("PATCH", `${maps}/stale`, patch, merge), 409, "Conflict", /the object has been modified/);
    });

    it("by operations tests first", async () => {
      await made(maps, map("operated", {}, { a: "1" }));
      const test = (value: string) => [
        { op: "test", path: "/data/a", value },
        { op: "replace", path: "/data/a", value: "2" },
      ];
      assert.equal((await call("PATCH", `${maps}/operated`, test("other"), jsonPatch)).status, 422);
      assert.equal((await call("PATCH", `${maps}/operated`, test("1"), jsonPatch)).body.data.a, "2");
    });

    it("strategically merges containers by name, and is refused for custom objects", async () => {
      const container = (name: string, image: string) => ({ name, image });
      const template = {
        metadata: { labels: { app: "s" } },
        spec: { containers: [container("one", "a:1"), container("two", "b:1")] },
      };
      const deployments = "/apis/apps/v1/namespaces/default/deployments";
      const spec = { replicas: 0, selector: { matchLabels: { app: "s" } }, template };
      await made(deployments, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "s" }, spec });
      const patch = { spec: { template: { spec: { containers: [container("two", "b:2")] } } } };
      const { body } = await call("PATCH", `${deployments}/s`, patch, strategic);
      const images = body.spec.template.spec.containers.map(({ name, image }: Body) => `${name} ${image}`);
      assert.deepEqual(images.sort(), ["one a:1", "two b:2"]);
      await made(widgets, widget("strategic"));
      assert.equal((await call("PATCH", `${widgets}/strategic`, { spec: {} }, strategic)).status, 415);
    });

    it("of what is not there is refused", async () => {
      refused(await call("PATCH", `${maps}/absent`, {}, merge), 404, "NotFound", 'configmaps "absent" not found');
    });
  });

  describe("deleting", () => {
    it("honours preconditions", async () => {
      const { metadata } = await made(maps, map("guarded"));
      const remove = (preconditions: object) =>
        call("DELETE", `${maps}/guarded`, { apiVersion: "v1", kind: "DeleteOptions", preconditions });
      assert.equal((await remove({ uid: "6d8f7c1e-0000-4000-8000-000000000000" })).status, 409);
      assert.equal((await remove({ resourceVersion: "1" })).status, 409);
      assert.equal((await remove({ uid: metadata.uid, resourceVersion: metadata.resourceVersion })).status, 200);
      assert.equal((await call("GET", `${maps}/guarded`)).status, 404);
    });

    it("waits for finalizers, and takes no new ones meanwhile", async () => {
      await made(widgets, widget("held", { mode: "slow" }, { finalizers: ["example.com/hold"] }));
      const { status, body } = await call("DELETE", `${widgets}/held`);
      assert.equal(status, 200);
      assert.match(body.metadata.deletionTimestamp, /Z$/);
      assert.equal(body.metadata.generation, 2);
      assert.equal((await call("GET", `${widgets}/held`)).status, 200);
      const add = { metadata: { finalizers: ["example.com/hold", "example.com/more"] } };
      const words = /metadata\.finalizers: Forbidden: no new finalizers can be added if the object is being deleted/;
      refused(await call("PATCH", `${widgets}/held`, add, merge), 422, "Invalid", words);
      await call("PATCH", `${widgets}/held`, { metadata: { finalizers: null } }, merge);
      assert.equal((await call("GET", `${widgets}/held`)).status, 404);
    });

    it("of a collection takes those that the selector names", async () => {
      for (const name of ["set-a", "set-b", "set-c"])
        await made(maps, map(name, { labels: { set: name === "set-c" ? "stay" : "go" } }));
      assert.equal((await call("DELETE", `${maps}?labelSelector=set%3Dgo`)).status, 200);
      const { body } = await call("GET", `${maps}?labelSelector=set`);
      assert.deepEqual(names(body), ["set-c"]);
    });

    it("of an owner: two controllers of one object are refused", async () => {
      const owner = (uid: string) => ({ apiVersion: "v1", kind: "ConfigMap", name: uid, uid, controller: true });
      const answer = await call("POST", maps, map("owned", { ownerReferences: [owner("a"), owner("b")] }));
      refused(answer, 422, "Invalid", /Only one reference can have Controller set to true/);
    });
  });
}
