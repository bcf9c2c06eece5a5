import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never, SpiderError } from "#base";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { KubeClient } from "./client.ts";
import { ApiStatusError, ApiUnreachableError, hasReason, surelyUnchanged } from "./errors.ts";
import { configMaps, nodes, pods } from "./kinds/core.ts";
import { metadataOf, type Resource } from "./kinds/resource.ts";
import { FakeApi } from "./testing/fake-api.ts";

const o = { signal: never };
const ref = { namespace: "default", name: "a" };

function setUp() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  return { clock, api, client: new KubeClient({ transport: api, clock }) };
}

describe("KubeClient", () => {
  it("creates, reads, replaces, patches and deletes an object", async () => {
    const { client } = setUp();
    const created = await client.create(configMaps, { metadata: ref, data: { k: "1" } }, o);
    assert.deepEqual([created.apiVersion, created.kind, created.metadata.name], ["v1", "ConfigMap", "a"]);
    const updated = await client.update(configMaps, { ...created, data: { k: "2" } }, o);
    assert.notEqual(updated.metadata.resourceVersion, created.metadata.resourceVersion);
    await client.patch(configMaps, ref, { kind: "merge", body: { data: { l: "3" } } }, o);
    await client.patch(configMaps, ref, { kind: "json", operations: [{ op: "remove", path: "/data/k" }] }, o);
    assert.deepEqual((await client.get(configMaps, ref, o))?.data, { l: "3" });
    assert.equal(await client.delete(configMaps, ref, o), "deleted");
    assert.equal(await client.delete(configMaps, ref, o), "absent");
    assert.equal(await client.get(configMaps, ref, o), undefined);
  });

  it("asks for strict field validation and a server-side time limit in every mutating call", async () => {
    const { api, client } = setUp();
    const created = await client.create(configMaps, { metadata: ref }, o);
    await client.update(configMaps, created, o);
    await client.patch(configMaps, ref, { kind: "merge", body: {} }, o);
    await client.delete(configMaps, ref, o);
    for (const { method, path } of api.requests) {
      assert.match(path, /timeout=14s/, method);
      if (method !== "DELETE") assert.match(path, /fieldValidation=Strict/, method);
    }
  });

  it("tells what the server refused, in its words, with the object", async () => {
    const { client } = setUp();
    await client.create(configMaps, { metadata: ref }, o);
    const again = client.create(configMaps, { metadata: ref }, o);
    await assert.rejects(again, (error: unknown) => {
      assert.ok(error instanceof ApiStatusError);
      assert.equal(error.message, "cannot create configmaps");
      assert.equal(error.serverMessage, 'configmaps "a" already exists');
      assert.equal(error.details["object"], "default/a");
      assert.ok(hasReason(error, "AlreadyExists") && surelyUnchanged(error));
      return true;
    });
  });

  it("refuses a stale update and a delete whose preconditions do not hold", async () => {
    const { client } = setUp();
    const first = await client.create(configMaps, { metadata: ref, data: { k: "1" } }, o);
    await client.update(configMaps, { ...first, data: { k: "2" } }, o);
    const isConflict = (error: unknown) => hasReason(error, "Conflict");
    await assert.rejects(client.update(configMaps, { ...first, data: { k: "3" } }, o), isConflict);
    const { uid, resourceVersion } = first.metadata;
    await assert.rejects(client.delete(configMaps, ref, { ...o, preconditions: { uid, resourceVersion } }), isConflict);
    assert.equal(await client.delete(configMaps, ref, { ...o, preconditions: { uid } }), "deleted");
  });

  it("says that a finalizer holds the object", async () => {
    const { api, client } = setUp();
    const held = await client.create(configMaps, { metadata: { ...ref, finalizers: ["example.org/x"] } }, o);
    assert.equal(await client.delete(configMaps, ref, o), "deleting");
    const marked = await client.get(configMaps, ref, o);
    assert.ok(marked?.metadata.deletionTimestamp);
    await client.update(configMaps, { ...marked, metadata: { ...marked.metadata, finalizers: [] } }, o);
    assert.equal(api.read(configMaps, held.metadata), undefined);
  });

  it("writes status through its subresource only", async () => {
    const { api, client } = setUp();
    const pod = api.apply(pods, { metadata: ref, spec: { nodeName: "n1" }, status: { phase: "Pending" } });
    await client.update(pods, { ...pod, status: { phase: "Failed" } }, o);
    assert.equal(api.read(pods, ref)?.status?.phase, "Pending");
    await client.patch(
      pods,
      ref,
      { kind: "merge", body: { status: { phase: "Running" } } },
      { ...o, subresource: "status" },
    );
    assert.equal(api.read(pods, ref)?.status?.phase, "Running");
  });

  it("lists in pages of one moment, selected by labels and fields", async () => {
    const { api, client } = setUp();
    for (let n = 0; n < 5; n++) {
      api.apply(pods, {
        metadata: { namespace: "x", name: `p${n}`, labels: { odd: String(n % 2) } },
        spec: { nodeName: `n${n % 2}` },
      });
    }
    const first = await client.list(pods, { ...o, limit: 2 });
    api.remove(pods, { namespace: "x", name: "p4" });
    const second = await client.list(pods, { ...o, limit: 3, continue: first.continue });
    const names = [...first.items, ...second.items].map((pod) => pod.metadata.name);
    assert.deepEqual([names, second.continue], [["p0", "p1", "p2", "p3", "p4"], undefined]);
    const odd = await client.list(pods, {
      ...o,
      namespace: "x",
      labelSelector: "odd=1",
      fieldSelector: "spec.nodeName=n1",
    });
    assert.equal(odd.items.length, 2);
  });

  it("reads a Pod's log, and what it answers through the proxy, as text", async () => {
    const paths: string[] = [];
    const transport = {
      server: "http://x",
      send: async ({ path }: { readonly path: string }) => {
        paths.push(path);
        return { status: 200, headers: {}, body: bytes("a\nb\n") };
      },
    };
    const client = new KubeClient({ transport, clock: new ManualClock() });
    const log = { kind: "log", container: "agent", lines: 10, previous: true } as const;
    assert.equal(await client.podText(ref, { of: log, ...o }), "a\nb\n");
    assert.equal(await client.podText(ref, { of: { kind: "proxy", port: 5711, path: "/metrics" }, ...o }), "a\nb\n");
    assert.deepEqual(paths, [
      "/api/v1/namespaces/default/pods/a/log?container=agent&tailLines=10&previous=true",
      "/api/v1/namespaces/default/pods/a%3A5711/proxy/metrics",
    ]);
  });

  it("asks for metadata only where the resource says so", async () => {
    const { api, client } = setUp();
    api.apply(nodes, { metadata: { name: "n1" }, spec: { podCIDR: "10.0.0.0/24" } });
    const found = await client.get(metadataOf(nodes), { name: "n1" }, o);
    assert.equal(found?.metadata.name, "n1");
    assert.equal(found !== undefined && "spec" in found, false);
  });

  it("drops managedFields, which nobody here reads", async () => {
    const { api, client } = setUp();
    api.apply(nodes, { metadata: { name: "n1", managedFields: [{ manager: "kubectl" }] } });
    const found = await client.get(nodes, { name: "n1" }, o);
    assert.equal(found !== undefined && "managedFields" in found.metadata, false);
  });

  it("takes a path that is not served for an error, not for an absent object", async () => {
    const { client } = setUp();
    const broken: Resource<never> = { ...nodes, version: "" } as unknown as Resource<never>;
    await assert.rejects(client.get(broken, { name: "n1" }, o), { code: "API_NAME_INVALID" });
    const transport = {
      server: "http://x",
      send: async () => ({ status: 404, headers: {}, body: bytes("404 page not found\n") }),
    };
    const bare = new KubeClient({ transport, clock: new ManualClock() });
    await assert.rejects(bare.get(nodes, { name: "n1" }, o), (error: unknown) => hasReason(error, "NotServed"));
  });

  it("refuses names that would reach another object", async () => {
    const { api, client } = setUp();
    for (const name of ["", ".", "..", "../secrets/x", "a%2fb", "a?watch=true", "x".repeat(254)]) {
      await assert.rejects(
        client.get(configMaps, { namespace: "default", name }, o),
        { code: "API_NAME_INVALID" },
        name,
      );
    }
    await assert.rejects(client.get(nodes, ref, o), TypeError);
    assert.equal(api.requests.length, 0);
  });

  it("says whether a change may have happened when no answer came", async () => {
    const { clock, api, client } = setUp();
    const outcomes: string[] = [];
    const attempt = async (act: Promise<unknown>) => {
      await act.catch((error: unknown) => {
        assert.ok(error instanceof ApiUnreachableError);
        assert.equal(error.details["server"], api.server);
        outcomes.push(error.outcome);
      });
    };
    const any = () => true;
    api.fail(any, { kind: "not-sent" });
    await attempt(client.create(configMaps, { metadata: ref }, o));
    api.fail(any, { kind: "lost-before" });
    await attempt(client.create(configMaps, { metadata: ref }, o));
    assert.equal(api.all(configMaps).length, 0);
    api.fail(any, { kind: "lost-after" });
    await attempt(client.create(configMaps, { metadata: ref }, o));
    assert.equal(api.all(configMaps).length, 1);
    api.fail(any, { kind: "lost-after" });
    await attempt(client.get(configMaps, ref, o));
    api.fail(any, { kind: "hang" });
    const hanging = attempt(client.delete(configMaps, ref, o));
    await clock.advance(10_000);
    await hanging;
    assert.deepEqual(outcomes, ["not-sent", "unknown", "unknown", "read", "unknown"]);
  });

  it("ends with the signal's reason when the caller gives up", async () => {
    const { api, client, clock } = setUp();
    api.fail(() => true, { kind: "hang" });
    const caller = new AbortController();
    const hanging = client.get(configMaps, ref, caller);
    caller.abort(new SpiderError("DEADLINE", "too late"));
    await assert.rejects(hanging, { code: "DEADLINE" });
    assert.equal(clock.sleeping, 0);
  });

  it("names answers that are not what they should be", async () => {
    const clock = new ManualClock();
    for (const text of ["<html>", "{}", '{"metadata":{"name":"a"}}', "[]", "null"]) {
      const transport = { server: "http://x", send: async () => ({ status: 200, headers: {}, body: bytes(text) }) };
      const client = new KubeClient({ transport, clock });
      await assert.rejects(client.get(nodes, { name: "a" }, o), { code: "API_ANSWER_INVALID" }, text);
    }
  });
});

async function* bytes(text: string) {
  yield Buffer.from(text);
}
