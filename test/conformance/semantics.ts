import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Answer, Api, Body } from "./api.ts";
import { widget, widgetCrd, widgets } from "./widgets.ts";

const maps = "/api/v1/namespaces/default/configmaps";
const merge = { type: "application/merge-patch+json" };
const strategic = { type: "application/strategic-merge-patch+json" };
const jsonPatch = { type: "application/json-patch+json" };

function map(name: string, metadata: object = {}, data: object = {}): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data };
}

function refused(answer: Answer, status: number, reason: string, message: RegExp | string): void {
  const { message: said = "" } = answer.body;
  assert.deepEqual([answer.status, answer.body.reason], [status, reason], JSON.stringify(answer.body));
  if (typeof message === "string") assert.equal(said, message);
  else assert.match(said, message);
}

/**
 * What clients may rely on, as tests of one API server. The lab's and real ones must pass the same: whatever only one of
 * them does is a failure here. `server` is asked when the tests run; the definition of widgets is made by the suite.
 */
export function semantics(server: () => Api): void {
  const call: Api["call"] = (...args) => server().call(...args);
  const watch: Api["watch"] = (...args) => server().watch(...args);
  const made = async (path: string, object: object): Promise<Body> => {
    const { status, body } = await call("POST", path, object);
    assert.equal(status, 201, JSON.stringify(body));
    return body;
  };
  const names = (list: Body): readonly string[] => list.items.map((item: Body) => item.metadata.name);

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

  describe("listing", () => {
    it("selects by labels and fields", async () => {
      const labels = [{ tier: "web", size: "1" }, { tier: "db" }, { other: "x" }];
      for (const [index, set] of labels.entries())
        await made(maps, map(`select-${index}`, { labels: { suite: "select", ...set } }));
      const found = async (query: string) => names((await call("GET", `${maps}?${query}`)).body);
      const by = (selector: string) => found(`labelSelector=${encodeURIComponent(`suite=select,${selector}`)}`);
      assert.deepEqual(await by("tier in (web,db)"), ["select-0", "select-1"]);
      assert.deepEqual(await by("tier notin (web)"), ["select-1", "select-2"]);
      assert.deepEqual(await by("tier!=db"), ["select-0", "select-2"]);
      assert.deepEqual(await by("!tier"), ["select-2"]);
      assert.deepEqual(await by("tier,size"), ["select-0"]);
      assert.deepEqual(await found("fieldSelector=metadata.name%3Dselect-1"), ["select-1"]);
      assert.equal((await call("GET", `${maps}?fieldSelector=data.a%3D1`)).status, 400);
      assert.equal((await call("GET", `${maps}?labelSelector=${encodeURIComponent("a in (")}`)).status, 400);
    });

    it("comes in pages of one moment", async () => {
      for (let index = 0; index < 5; index += 1)
        await made(widgets, widget(`page-${index}`, { mode: "slow" }, { labels: { page: "1" } }));
      const first = (await call("GET", `${widgets}?labelSelector=page&limit=2`)).body;
      assert.deepEqual(names(first), ["page-0", "page-1"]);
      assert.ok(first.metadata.continue);
      await made(widgets, widget("page-9", { mode: "slow" }, { labels: { page: "1" } }));
      const seen = [...names(first)];
      for (let next = first.metadata.continue; next; ) {
        const query = `labelSelector=page&limit=2&continue=${encodeURIComponent(next)}`;
        const { body } = await call("GET", `${widgets}?${query}`);
        seen.push(...names(body));
        assert.equal(body.metadata.resourceVersion, first.metadata.resourceVersion);
        next = body.metadata.continue;
      }
      assert.deepEqual(seen, ["page-0", "page-1", "page-2", "page-3", "page-4"]);
      refused(await call("GET", `${widgets}?limit=2&continue=nonsense`), 400, "BadRequest", /continue key/);
    });

    it("as metadata carries no more than that, as a table what columns say", async () => {
      await made(widgets, widget("shown", { mode: "fast", count: 7 }));
      const partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
      const { body: list } = await call("GET", `${widgets}?fieldSelector=metadata.name%3Dshown`, undefined, {
        accept: partial,
      });
      assert.equal(list.kind, "PartialObjectMetadataList");
      assert.deepEqual(
        Object.keys(list.items[0]).filter((key) => !["kind", "apiVersion"].includes(key)),
        ["metadata"],
      );
      const one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
      const patched = { status: { seen: 1 } };
      const { body: answer } = await call("PATCH", `${widgets}/shown/status`, patched, { ...merge, accept: one });
      assert.deepEqual(
        [answer.kind, answer.metadata.name, answer.status],
        ["PartialObjectMetadata", "shown", undefined],
      );
      const { body: created } = await call("POST", widgets, widget("shown-too"), { accept: one });
      assert.deepEqual([created.kind, created.spec], ["PartialObjectMetadata", undefined]);
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
      const { body: table } = await call("GET", `${widgets}/shown`, undefined, { accept });
      assert.deepEqual(
        table.columnDefinitions.map(({ name }: Body) => name),
        ["Name", "MODE", "COUNT", "AGE"],
      );
      assert.deepEqual(table.rows[0].cells.slice(0, 3), ["shown", "fast", 7]);
      assert.equal(table.rows[0].object.kind, "PartialObjectMetadata");
      const { body: whole } = await call("GET", `${widgets}/shown?includeObject=Object`, undefined, { accept });
      assert.equal(whole.rows[0].object.spec.mode, "fast");
    });
  });

  describe("watching", () => {
    const types = (events: readonly Body[]) => events.map(({ type, object }) => `${type} ${object.metadata.name}`);

    it("tells what happened since a version", async () => {
      const { body: list } = await call("GET", maps);
      await made(maps, map("seen"));
      await call("PATCH", `${maps}/seen`, { data: { a: "1" } }, merge);
      await call("DELETE", `${maps}/seen`);
      const path = `${maps}?watch=true&resourceVersion=${list.metadata.resourceVersion}&fieldSelector=metadata.name%3Dseen`;
      const events = await watch(path, ({ length }) => length >= 3);
      assert.deepEqual(types(events), ["ADDED seen", "MODIFIED seen", "DELETED seen"]);
      const versions = events.map(({ object }) => Number(object.metadata.resourceVersion));
      assert.deepEqual(
        versions,
        [...versions].sort((a, b) => a - b),
      );
    });

    it("tells of an object that leaves or enters a selector", async () => {
      const { metadata } = await made(maps, map("mover", { labels: { here: "yes" } }));
      await call("PATCH", `${maps}/mover`, { metadata: { labels: { here: "no" } } }, merge);
      await call("PATCH", `${maps}/mover`, { metadata: { labels: { here: "yes" } } }, merge);
      const path = `${maps}?watch=true&resourceVersion=${metadata.resourceVersion}&labelSelector=here%3Dyes`;
      assert.deepEqual(types(await watch(path, ({ length }) => length >= 2)), ["DELETED mover", "ADDED mover"]);
    });

    it("begins with all there is where no version is given", async () => {
      await made(maps, map("initial", { labels: { initial: "1" } }));
      const events = await watch(`${maps}?watch=true&labelSelector=initial`, ({ length }) => length >= 1);
      assert.deepEqual(types(events), ["ADDED initial"]);
    });

    it("as a streaming list ends the beginning with a bookmark", async () => {
      await made(maps, map("streamed", { labels: { streamed: "1" } }));
      const query =
        "watch=true&labelSelector=streamed&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
      const { minor } = (await call("GET", "/version")).body;
      if (Number.parseInt(minor, 10) < 32) {
        // Clients list instead.
        refused(await call("GET", `${maps}?${query}`), 422, "Invalid", /sendInitialEvents is forbidden for watch/);
        return;
      }
      const events = await watch(`${maps}?${query}`, (seen) => seen.some(({ type }) => type === "BOOKMARK"));
      assert.deepEqual(
        events.map(({ type }) => type),
        ["ADDED", "BOOKMARK"],
      );
      const { annotations, resourceVersion } = events[1].object.metadata;
      assert.equal(annotations["k8s.io/initial-events-end"], "true");
      assert.ok(Number(resourceVersion) >= Number(events[0].object.metadata.resourceVersion));
    });

    it("ends after the time that was asked for", async () => {
      const { body } = await call("GET", maps);
      const events = await watch(
        `${maps}?watch=true&timeoutSeconds=1&resourceVersion=${body.metadata.resourceVersion}&fieldSelector=metadata.name%3Dnone`,
        () => false,
      );
      assert.deepEqual(events, []);
    });
  });

  describe("a custom definition", () => {
    it("drops, warns of or refuses what it does not know", async () => {
      const unknown = (name: string) => widget(name, { mode: "slow", unknown: 1 });
      const kept = await call("POST", `${widgets}?fieldValidation=Ignore`, unknown("pruned"));
      assert.equal(kept.status, 201);
      assert.equal(kept.body.spec.unknown, undefined);
      const warned = await call("POST", widgets, unknown("warned"));
      assert.match(String(warned.headers["warning"]), /unknown field \\?"spec\.unknown\\?"/);
      const words = /strict decoding error: unknown field "spec\.unknown"/;
      refused(await call("POST", `${widgets}?fieldValidation=Strict`, unknown("strict")), 400, "BadRequest", words);
    });

    it("fills in defaults, inside of defaults too", async () => {
      const { spec } = await made(widgets, widget("defaulted"));
      assert.deepEqual(spec, { mode: "slow", count: 2, nested: { enabled: true } });
    });

    it("keeps whole numbers that doubles cannot", async () => {
      const text = JSON.stringify(widget("large", { mode: "slow", size: 0 })).replace(
        '"size":0',
        '"size":9007199254740991',
      );
      const { body } = await call("POST", widgets, text, { type: "application/json" });
      assert.equal(body.spec.size, 9_007_199_254_740_991);
    });

    const wrong: readonly (readonly [string, object, RegExp])[] = [
      ["enum", { mode: "other" }, /spec\.mode: Unsupported value: "other": supported values: "fast", "slow", "never"/],
      ["required", { count: 1 }, /spec\.mode: Required value/],
      [
        "type",
        { mode: "slow", count: "one" },
        /spec\.count: Invalid value: "string": spec\.count in body must be of type integer: "string"/,
      ],
      [
        "minimum",
        { mode: "slow", count: 0 },
        /spec\.count: Invalid value: 0: spec\.count in body should be greater than or equal to 1/,
      ],
      [
        "pattern",
        { mode: "slow", name: "ABC" },
        /spec\.name: Invalid value: "ABC": spec\.name in body should match '\^\[a-z\]\+\$'/,
      ],
      [
        "length",
        { mode: "slow", name: "abcdef" },
        /spec\.name: Too long: may not be (more than 5 bytes|longer than 5)/,
      ],
      [
        "items",
        { mode: "slow", ips: ["10.1", "10.2", "10.3", "10.4"] },
        /spec\.ips: Too many: 4: must have at most 3 items/,
      ],
      ["time", { mode: "slow", until: "tomorrow" }, /spec\.until: Invalid value: .*date-time/],
      ["values", { mode: "slow", limits: { a: "b" } }, /spec\.limits\.a: Invalid value: "string"/],
      ["rule", { mode: "never" }, /spec: Invalid value: (?:"object": )?mode must not be never/],
      [
        "rule's expression",
        { mode: "slow", ips: ["10.1", "11.1"] },
        /spec: Invalid value: (?:"object": )?not of ten: 10\.1 11\.1/,
      ],
    ];
    for (const [what, spec, words] of wrong) {
      it(`refuses a wrong ${what} in the server's words`, async () => {
        refused(await call("POST", `${widgets}?fieldValidation=Strict`, widget("wrong", spec)), 422, "Invalid", words);
      });
    }

    it("compares with what was, by rules of change", async () => {
      await made(widgets, widget("renamed", { mode: "slow", name: "first" }));
      const patch = { spec: { name: "other" } };
      refused(await call("PATCH", `${widgets}/renamed`, patch, merge), 422, "Invalid", /name cannot be changed/);
      assert.equal((await call("PATCH", `${widgets}/renamed`, { spec: { count: 3 } }, merge)).status, 200);
    });

    it("is found by names and categories", async () => {
      const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
      const { body } = await call("GET", "/apis", undefined, { accept });
      const group = body.items.find(({ metadata }: Body) => metadata.name === "conformance.example.com");
      const [resource] = group.versions[0].resources;
      assert.deepEqual(
        [resource.resource, resource.shortNames, resource.categories],
        ["widgets", ["wd"], ["all-widgets"]],
      );
    });
  });

  describe("built-in kinds", () => {
    it("keep a Lease's microseconds", async () => {
      const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
      const renewTime = "2026-01-01T00:00:00.123000Z";
      const spec = { holderIdentity: "a", leaseDurationSeconds: 15, renewTime };
      const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "l" }, spec };
      assert.equal((await made(leases, lease)).spec.renewTime, renewTime);
    });

    it("select Events by what they are about", async () => {
      const events = "/api/v1/namespaces/default/events";
      const event = (name: string, about: string) => ({
        ...{ apiVersion: "v1", kind: "Event", metadata: { name }, type: "Normal", reason: "Conformance" },
        involvedObject: { apiVersion: "v1", kind: "Pod", namespace: "default", name: about },
      });
      await made(events, event("e1", "one"));
      await made(events, event("e2", "two"));
      const selector = encodeURIComponent("involvedObject.name=one,reason=Conformance");
      assert.deepEqual(names((await call("GET", `${events}?fieldSelector=${selector}`)).body), ["e1"]);
    });

    it("spell a Node's amounts in one way", async () => {
      await made("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
      const amounts = { "example.com/br1": "1000", memory: "16384Ki", cpu: "2" };
      const { body } = await call("PATCH", "/api/v1/nodes/n/status", { status: { capacity: amounts } }, merge);
      assert.deepEqual(body.status.capacity, { "example.com/br1": "1k", memory: "16Mi", cpu: "2" });
    });

    it("end a Pod of a node gracefully, and one of none at once", async () => {
      const pods = "/api/v1/namespaces/default/pods";
      const pod = (name: string, spec: object) => ({
        ...{ apiVersion: "v1", kind: "Pod", metadata: { name } },
        spec: { ...spec, containers: [{ name: "c", image: "none" }] },
      });
      await made(pods, pod("nowhere", {}));
      await call("DELETE", `${pods}/nowhere`);
      assert.equal((await call("GET", `${pods}/nowhere`)).status, 404);
      await made(pods, pod("somewhere", { nodeName: "n" }));
      const { body } = await call("DELETE", `${pods}/somewhere`);
      assert.equal(body.metadata.deletionGracePeriodSeconds, 30);
      assert.equal((await call("DELETE", `${pods}/somewhere?gracePeriodSeconds=0`)).status, 200);
      assert.equal((await call("GET", `${pods}/somewhere`)).status, 404);
    });

    it("bind a Pod once", async () => {
      const pods = "/api/v1/namespaces/default/pods";
      const spec = { containers: [{ name: "c", image: "none" }] };
      await made(pods, { apiVersion: "v1", kind: "Pod", metadata: { name: "bound" }, spec });
      const binding = {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "bound" },
        target: { kind: "Node", name: "n" },
      };
      assert.equal((await call("POST", `${pods}/bound/binding`, binding)).status, 201);
      assert.equal((await call("GET", `${pods}/bound`)).body.spec.nodeName, "n");
      assert.equal((await call("POST", `${pods}/bound/binding`, binding)).status, 409);
      await call("DELETE", `${pods}/bound?gracePeriodSeconds=0`);
    });
  });
}

/** Makes the definition that the suite needs and waits until it is served. */
export async function prepare({ call }: Api): Promise<void> {
  const { status, body } = await call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgetCrd);
  assert.equal(status, 201, JSON.stringify(body));
  for (const untilMs = performance.now() + 20_000; performance.now() < untilMs; ) {
    if ((await call("GET", widgets)).status === 200) return;
  }
  assert.fail("widgets are not served after 20 s");
}
