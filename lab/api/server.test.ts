import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { describe, it } from "node:test";
import { ManualClock } from "../../src/base/testing/manual-clock.ts";
import { at, createApiServer, createLabClient, type KubeObject, listAt, textAt } from "./index.ts";
import { call, getAs } from "./testing/call.ts";
import { widgetCrd } from "./testing/widgets.ts";

const clock = new ManualClock();
const setUp = () => {
  const api = createApiServer({ crds: [widgetCrd], clock });
  return { api, client: createLabClient({ api }, { clock }) };
};
const configMap = (name: string, extra: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default", ...extra },
});
const pod = (name: string, spec: object = {}, extra: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", ...extra },
  spec: { containers: [{ name: "c", image: "i:1" }], ...spec },
});
const widget = (name: string, spec: object = { mode: "slow" }) => ({
  apiVersion: "lab.example.com/v1",
  kind: "Widget",
  metadata: { name, namespace: "default" },
  spec,
});
const maps = "/api/v1/namespaces/default/configmaps";
const pods = "/api/v1/namespaces/default/pods";
const widgets = "/apis/lab.example.com/v1/namespaces/default/widgets";

void describe("writing objects", () => {
  void it("refuses a second object of the same name and an update that missed a change", async () => {
    const { api } = setUp();
    const first = await call(api, "POST", maps, configMap("a"));
    assert.equal(first.status, 201);
    const again = await call(api, "POST", maps, configMap("a"));
    assert.deepEqual([again.status, again.body["reason"]], [409, "AlreadyExists"]);
    assert.equal(again.body["message"], 'configmaps "a" already exists');
    await call(api, "PUT", `${maps}/a`, { ...first.body, data: { x: "1" } });
    const late = await call(api, "PUT", `${maps}/a`, { ...first.body, data: { x: "2" } });
    assert.deepEqual([late.status, late.body["reason"]], [409, "Conflict"]);
    assert.equal(
      late.body["message"],
      'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
    );
  });

  void it("writes nothing when nothing differs, or in a dry run", async () => {
    const { api } = setUp();
    const { body } = await call(api, "POST", maps, configMap("a"));
    const same = await call(api, "PUT", `${maps}/a`, body);
    assert.equal(textAt(same.body, "metadata", "resourceVersion"), textAt(body, "metadata", "resourceVersion"));
    const patch = { data: { x: "1" } };
    const dry = await call(api, "PATCH", `${maps}/a?dryRun=All`, patch, "application/merge-patch+json");
    assert.deepEqual([dry.status, at(dry.body, "data")], [200, { x: "1" }]);
    assert.equal((await call(api, "DELETE", `${maps}/a`, { dryRun: ["All"] })).status, 200);
    assert.equal((await call(api, "DELETE", `${maps}/a?dryRun=All`)).status, 200);
    assert.deepEqual((await call(api, "GET", `${maps}/a`)).body, body);
    const made = await call(api, "POST", `${maps}?dryRun=All`, configMap("b"));
    assert.deepEqual([made.status, textAt(made.body, "metadata", "name")], [201, "b"]);
    assert.equal((await call(api, "POST", `${maps}?dryRun=All`, configMap("a"))).status, 409);
    assert.equal((await call(api, "GET", `${maps}/b`)).status, 404);
    assert.equal((await call(api, "POST", `${maps}?dryRun=Some`, configMap("b"))).status, 400);
  });

  void it("writes the largest int64 as such, which JSON.parse rounds up", async () => {
    const { api } = setUp();
    await call(api, "POST", maps, { ...configMap("a"), data: { count: 2 ** 63 } });
    const { body } = await api.handle({ method: "GET", path: `${maps}/a`, headers: {} });
    assert.match(Buffer.concat(await Array.fromAsync(body)).toString(), /"count":9223372036854775807[,}]/);
  });

  void it("asks webhooks about a dry run as such, and hands on their warnings", async (t) => {
    const asked: unknown[] = [];
    const webhook = createServer(async (request, response) => {
      asked.push(at(await json(request), "request", "dryRun"));
      response.end('{"response":{"allowed":true,"warnings":["it is odd"]}}');
    });
    await once(webhook.listen(0, "127.0.0.1"), "listening");
    t.after(() => webhook.close());
    const { port } = webhook.address() as AddressInfo;
    const webhooks = { url: `http://127.0.0.1:${port}`, group: "lab.example.com", kinds: ["Widget"] };
    const api = createApiServer({ crds: [widgetCrd], clock, webhooks });
    const made = await call(api, "POST", `${widgets}?dryRun=All`, widget("a"));
    assert.deepEqual([made.status, made.headers["warning"], asked], [201, '299 - "it is odd"', [true, true]]);
  });

  void it("makes names from generateName and refuses bad names, unknown namespaces and foreign kinds", async () => {
    const { api } = setUp();
    const made = await call(api, "POST", maps, configMap("", { generateName: "x-" }));
    assert.match(textAt(made.body, "metadata", "name"), /^x-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    const bad = await call(api, "POST", maps, configMap("A_b"));
    assert.equal(bad.status, 422);
    assert.match(
      String(bad.body["message"]),
      /^ConfigMap "A_b" is invalid: metadata\.name: Invalid value: "A_b": a lowercase RFC 1123/,
    );
    const elsewhere = await call(
      api,
      "POST",
      "/api/v1/namespaces/none/configmaps",
      configMap("a", { namespace: "none" }),
    );
    assert.deepEqual([elsewhere.status, elsewhere.body["message"]], [404, 'namespaces "none" not found']);
    assert.equal((await call(api, "POST", maps, pod("a"))).status, 400);
  });

  void it("counts generations by spec where status is a subresource, and keeps the two apart", async () => {
    const { api } = setUp();
    const { body: made } = await call(api, "POST", widgets, { ...widget("a"), status: { count: 9 } });
    assert.deepEqual([at(made, "metadata", "generation"), made["status"]], [1, undefined]);
    const { body: stated } = await call(api, "PUT", `${widgets}/a/status`, { ...made, spec: {}, status: { count: 1 } });
    assert.deepEqual([at(stated, "metadata", "generation"), stated["status"]], [1, { count: 1 }]);
    assert.equal(at(stated, "spec", "mode"), "slow");
    const { body: labelled } = await call(api, "PUT", `${widgets}/a`, {
      ...stated,
      status: {},
      metadata: { ...(stated["metadata"] as object), labels: { a: "b" } },
    });
    assert.deepEqual([at(labelled, "metadata", "generation"), labelled["status"]], [1, { count: 1 }]);
    const patch = await call(api, "PATCH", `${widgets}/a`, { spec: { mode: "fast" } }, "application/merge-patch+json");
    assert.equal(at(patch.body, "metadata", "generation"), 2);
  });

  void it("applies a patch again to what somebody else wrote while a webhook judged it", async (t) => {
    let meanwhile = async () => {};
    const webhook = createServer((request, response) => {
      request.resume().on("end", () => {
        const act = meanwhile;
        meanwhile = async () => {};
        void act().then(() => response.end('{"response":{"allowed":true}}'));
      });
    });
    await once(webhook.listen(0, "127.0.0.1"), "listening");
    t.after(() => webhook.close());
    const { port } = webhook.address() as AddressInfo;
    const webhooks = { url: `http://127.0.0.1:${port}`, group: "lab.example.com", kinds: ["Widget"] };
    const api = createApiServer({ crds: [widgetCrd], clock, webhooks });
    const { body: made } = await call(api, "POST", widgets, widget("a"));
    meanwhile = async () => {
      await call(api, "PATCH", `${widgets}/a/status`, { status: { count: 7 } }, "application/merge-patch+json");
    };
    const change = { spec: { mode: "fast" } };
    const patched = await call(api, "PATCH", `${widgets}/a`, change, "application/merge-patch+json");
    assert.deepEqual([patched.status, at(patched.body, "status", "count")], [200, 7]);
    const bound = { ...change, metadata: { resourceVersion: at(made, "metadata", "resourceVersion") } };
    assert.equal((await call(api, "PATCH", `${widgets}/a`, bound, "application/merge-patch+json")).status, 409);
  });

  void it("asks for a resourceVersion in updates of custom resources only", async () => {
    const { api } = setUp();
    await call(api, "POST", widgets, widget("a"));
    const refused = await call(api, "PUT", `${widgets}/a`, widget("a", { mode: "fast" }));
    assert.equal(
      refused.body["message"],
      'Widget.lab.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update',
    );
    await call(api, "POST", maps, configMap("a"));
    assert.equal((await call(api, "PUT", `${maps}/a`, { ...configMap("a"), data: { a: "b" } })).status, 200);
  });

  void it("serves a custom resource in each version, and drops unknown fields or refuses them", async () => {
    const { api } = setUp();
    const made = await call(api, "POST", widgets, widget("a", { mode: "slow", x: 1 }));
    assert.equal(at(made.body, "spec", "x"), undefined);
    const strict = await call(api, "POST", `${widgets}?fieldValidation=Strict`, widget("b", { mode: "slow", x: 1 }));
    assert.match(String(strict.body["message"]), /strict decoding error: unknown field "spec\.x"$/);
    const beta = await call(api, "GET", "/apis/lab.example.com/v1beta1/namespaces/default/widgets/a");
    assert.equal(beta.body["apiVersion"], "lab.example.com/v1beta1");
  });

  void it("refuses bodies that it cannot read", async () => {
    const { api } = setUp();
    const raw = (body: Uint8Array, type = "application/json", method = "POST", path = maps) =>
      api.handle({ method, path, headers: { "content-type": type }, body });
    assert.equal((await raw(Buffer.from("{"))).status, 400);
    assert.equal((await raw(Buffer.from("[]"))).status, 400);
    const protobuf = await raw(Buffer.from("k8s"), "application/vnd.kubernetes.protobuf");
    assert.equal(protobuf.status, 415);
    assert.match(Buffer.concat(await Array.fromAsync(protobuf.body)).toString(), /--dry-run=client -o yaml/);
    const absent = await raw(Buffer.from("{}"), "application/apply-patch+yaml", "PATCH", `${maps}/absent`);
    assert.equal(absent.status, 415, "server-side apply could create it");
    assert.match(Buffer.concat(await Array.fromAsync(absent.body)).toString(), /leave out --server-side/);
    assert.equal((await raw(Buffer.alloc(3 * 1024 * 1024 + 1))).status, 413);
    await call(api, "POST", maps, configMap("a"));
    assert.equal((await raw(Buffer.from("{}"), "application/apply-patch+yaml", "PATCH", `${maps}/a`)).status, 415);
    await call(api, "POST", widgets, widget("a"));
    assert.equal((await call(api, "PATCH", `${widgets}/a`, {}, "application/strategic-merge-patch+json")).status, 415);
    const failed = [{ op: "test", path: "/kind", value: "Pod" }];
    assert.equal((await call(api, "PATCH", `${maps}/a`, failed, "application/json-patch+json")).status, 422);
    assert.equal((await call(api, "GET", "/apis/none/v1/things")).status, 404);
    assert.equal((await call(api, "POST", `${maps}/a`, {})).status, 405);
  });
});

void describe("deleting objects", () => {
  void it("checks the preconditions", async () => {
    const { client } = setUp();
    const { metadata } = await client.create<KubeObject>("v1/configmaps", configMap("a"));
    const ref = { name: "a", namespace: "default" };
    await assert.rejects(client.delete("v1/configmaps", ref, { uid: "other" }), {
      message: `Operation cannot be fulfilled on configmaps "a": the UID in the precondition (other) does not match the UID in record (${metadata.uid}). The object might have been deleted and then recreated`,
    });
    await assert.rejects(
      client.delete("v1/configmaps", ref, { resourceVersion: "1" }),
      /ResourceVersion in the precondition/,
    );
    const { uid, resourceVersion } = metadata;
    assert.equal(await client.delete("v1/configmaps", ref, { uid, resourceVersion }), true);
    assert.equal(await client.delete("v1/configmaps", ref), false);
  });

  void it("keeps what finalizers hold until the last one goes, and takes no new ones meanwhile", async () => {
    const { api } = setUp();
    await call(api, "POST", maps, configMap("a", { finalizers: ["lab/x", "lab/y"] }));
    const marked = await call(api, "DELETE", `${maps}/a`);
    assert.notEqual(at(marked.body, "metadata", "deletionTimestamp"), undefined);
    const finalizers = (names: readonly string[] | null) =>
      call(api, "PATCH", `${maps}/a`, { metadata: { finalizers: names } }, "application/merge-patch+json");
    assert.equal((await finalizers(["lab/x", "lab/z"])).status, 422);
    assert.equal((await finalizers(["lab/x"])).status, 200);
    assert.equal((await call(api, "GET", `${maps}/a`)).status, 200);
    assert.equal((await finalizers(null)).status, 200);
    assert.equal((await call(api, "GET", `${maps}/a`)).status, 404);
  });

  void it("gives a Pod on a node its grace until the kubelet's word, and none to a Pod without node", async () => {
    const { api, client } = setUp();
    await call(api, "POST", pods, pod("a", { nodeName: "n1" }));
    const graceful = await call(api, "DELETE", `${pods}/a`);
    assert.equal(at(graceful.body, "metadata", "deletionGracePeriodSeconds"), 30);
    assert.equal(Date.parse(textAt(graceful.body, "metadata", "deletionTimestamp")) - clock.wall().getTime(), 30_000);
    const shorter = await call(api, "DELETE", `${pods}/a`, { gracePeriodSeconds: 5 });
    assert.equal(at(shorter.body, "metadata", "deletionGracePeriodSeconds"), 5);
    const ref = { name: "a", namespace: "default" };
    assert.equal(await client.delete("v1/pods", ref, { gracePeriodSeconds: 0 }), true);
    assert.equal(await client.get("v1/pods", ref), undefined);
    await call(api, "POST", pods, pod("b"));
    assert.equal((await call(api, "DELETE", `${pods}/b`)).body["status"], "Success");
  });

  void it("deletes dependents with their last owner", async () => {
    const { api } = setUp();
    const owner = async (name: string) => {
      const { body } = await call(api, "POST", maps, configMap(name));
      return { apiVersion: "v1", kind: "ConfigMap", name, uid: textAt(body, "metadata", "uid") };
    };
    const [a, b] = [await owner("a"), await owner("b")];
    await call(api, "POST", maps, configMap("child", { ownerReferences: [a, b] }));
    const child = await call(api, "GET", `${maps}/child`);
    const uid = textAt(child.body, "metadata", "uid");
    await call(api, "POST", maps, configMap("grandchild", { ownerReferences: [{ ...a, name: "child", uid }] }));
    await call(api, "DELETE", `${maps}/a`);
    assert.equal((await call(api, "GET", `${maps}/grandchild`)).status, 200);
    await call(api, "DELETE", `${maps}/b`);
    assert.equal((await call(api, "GET", `${maps}/child`)).status, 404);
    assert.equal((await call(api, "GET", `${maps}/grandchild`)).status, 404);
    await call(api, "POST", maps, configMap("late", { ownerReferences: [a] }));
    assert.equal((await call(api, "GET", `${maps}/late`)).status, 404, "its owner was gone before it came");
  });

  void it("empties a namespace before it goes, waiting for what finalizers hold", async () => {
    const { api } = setUp();
    await call(api, "POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "team" } });
    const path = "/api/v1/namespaces/team/configmaps";
    for (const name of ["a", "b"]) await call(api, "POST", path, configMap(name, { namespace: "team" }));
    await call(api, "POST", path, configMap("held", { namespace: "team", finalizers: ["lab/x"] }));
    await call(api, "DELETE", "/api/v1/namespaces/team");
    const waiting = await call(api, "GET", "/api/v1/namespaces/team");
    assert.equal(at(waiting.body, "status", "phase"), "Terminating");
    assert.equal(listAt((await call(api, "GET", path)).body, "items").length, 1);
    const refused = await call(api, "POST", path, configMap("new", { namespace: "team" }));
    assert.match(String(refused.body["message"]), /because it is being terminated$/);
    await call(api, "PATCH", `${path}/held`, { metadata: { finalizers: null } }, "application/merge-patch+json");
    assert.equal((await call(api, "GET", "/api/v1/namespaces/team")).status, 404);
  });

  void it("deletes a collection by selector", async () => {
    const { api } = setUp();
    for (const name of ["a", "b"]) await call(api, "POST", maps, configMap(name, { labels: { name } }));
    await call(api, "DELETE", `${maps}?labelSelector=name%3Da`);
    const left = listAt((await call(api, "GET", maps)).body, "items");
    assert.deepEqual(
      left.map((item) => textAt(item, "metadata", "name")),
      ["b"],
    );
  });
});

void describe("subresources", () => {
  void it("binds a Pod to a node once", async () => {
    const { api } = setUp();
    await call(api, "POST", pods, pod("a"));
    const binding = {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name: "a" },
      target: { kind: "Node", name: "n1" },
    };
    assert.equal((await call(api, "POST", `${pods}/a/binding`, binding)).status, 201);
    const { body } = await call(api, "GET", `${pods}/a`);
    assert.equal(at(body, "spec", "nodeName"), "n1");
    assert.equal(at(body, "status", "conditions", 0, "type"), "PodScheduled");
    assert.equal((await call(api, "POST", `${pods}/a/binding`, binding)).status, 409);
    const onNode = await call(api, "GET", `/api/v1/pods?fieldSelector=spec.nodeName%3Dn1,status.phase!%3DRunning`);
    assert.equal(listAt(onNode.body, "items").length, 1);
  });

  void it("scales a workload, unless it changed in between", async () => {
    const { api } = setUp();
    const template = { metadata: { labels: { app: "a" } }, spec: {} };
    const path = "/apis/apps/v1/namespaces/default/replicasets";
    const set = { apiVersion: "apps/v1", kind: "ReplicaSet", metadata: { name: "a", namespace: "default" } };
    await call(api, "POST", path, { ...set, spec: { selector: { matchLabels: { app: "a" } }, template } });
    const { body: scale } = await call(api, "GET", `${path}/a/scale`);
    assert.deepEqual([scale["kind"], scale["spec"]], ["Scale", { replicas: 1 }]);
    assert.equal((await call(api, "PUT", `${path}/a/scale`, { ...scale, spec: { replicas: 7 } })).status, 200);
    assert.equal(at((await call(api, "GET", `${path}/a`)).body, "spec", "replicas"), 7);
    assert.equal((await call(api, "PUT", `${path}/a/scale`, { ...scale, spec: { replicas: 8 } })).status, 409);
  });

  void it("merges a Pod's status and annotations in one status update", async () => {
    const { api } = setUp();
    const { body } = await call(api, "POST", pods, pod("a"));
    const annotations = { "k8s.v1.cni.cncf.io/network-status": "[]" };
    const metadata = { ...(body["metadata"] as object), annotations };
    const put = await call(api, "PUT", `${pods}/a/status`, { ...body, metadata, status: { phase: "Running" } });
    assert.deepEqual(
      [at(put.body, "metadata", "annotations"), put.body["status"]],
      [annotations, { phase: "Running" }],
    );
  });
});

void describe("reading objects", () => {
  void it("answers with metadata alone, or a table whose rows carry what was asked for", async () => {
    const { api } = setUp();
    await call(api, "POST", widgets, widget("a", { mode: "slow", ips: ["10.0.0.1"] }));
    const partial = await getAs(api, widgets, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    assert.equal(partial.body["kind"], "PartialObjectMetadataList");
    assert.deepEqual(Object.keys(at(partial.body, "items", 0) as object), ["kind", "apiVersion", "metadata"]);
    const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    const rows = await getAs(api, widgets, table);
    assert.deepEqual(at(rows.body, "rows", 0, "cells"), ["a", "slow", 2, "10.0.0.1", null, null, "0s"]);
    assert.equal(at(rows.body, "rows", 0, "object", "kind"), "PartialObjectMetadata");
    const whole = await getAs(api, `${widgets}?includeObject=Object`, table);
    assert.equal(at(whole.body, "rows", 0, "object", "kind"), "Widget");
    const none = await getAs(api, `${widgets}?includeObject=None`, table);
    assert.equal(at(none.body, "rows", 0, "object"), undefined);
    assert.equal((await getAs(api, widgets, "application/vnd.kubernetes.protobuf")).status, 406);
    assert.equal((await getAs(api, `${widgets}?fieldSelector=spec.count%3D2`, "*/*")).status, 400);
  });

  void it("describes itself", async () => {
    const { api } = setUp();
    const asks = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    const groups = await getAs(api, "/apis", asks);
    assert.equal(groups.headers["content-type"], asks);
    assert.deepEqual(
      listAt(groups.body, "items").map((group) => textAt(group, "metadata", "name")),
      ["apps", "batch", "coordination.k8s.io", "apiextensions.k8s.io", "lab.example.com"],
    );
    for (const path of [
      "/healthz",
      "/livez",
      "/readyz",
      "/version",
      "/openapi/v2",
      "/openapi/v3",
      "/openapi/v3/apis/lab.example.com/v1",
    ]) {
      assert.equal((await call(api, "GET", path)).status, 200, path);
    }
  });

  void it("refuses a definition that it cannot serve", () => {
    for (const crd of [widgetCrd.replace("widgets.lab", "others.lab"), widgetCrd.replace("maxLength", "minLength")]) {
      assert.throws(() => createApiServer({ crds: [crd] }), { code: "LAB_BAD_CRD" });
    }
  });
});
