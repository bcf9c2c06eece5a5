import assert from "node:assert/strict";
import { createServer, type Server } from "node:net";
import { describe, it } from "node:test";
import { createApiServer, createLabClient, isStatus, type KubeObject, type LabApi, type LabClient } from "./index.ts";

const configMap = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } });
const ref = { name: "a", namespace: "default" };

/** Has the server listen on loopback. Returns its port. */
async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Collects what a watch reports; `until` waits for a line. */
function collect(client: LabClient, signal: AbortSignal) {
  const lines: string[] = [];
  let wake = Promise.withResolvers<void>();
  const watch = client.watch<KubeObject>("v1/configmaps", { namespace: "default", signal }, ({ type, object }) => {
    lines.push(`${type} ${object.metadata.name}`);
    wake.resolve();
    wake = Promise.withResolvers();
  });
  const until = async (line: string) => {
    while (!lines.includes(line)) await wake.promise;
  };
  return { lines, watch, until };
}

for (const way of ["in process", "over HTTP"]) {
  const clientOf = async (api: LabApi) =>
    createLabClient(way === "in process" ? { api } : { baseUrl: (await api.listen()).url });

  void describe(`the lab's client ${way}`, () => {
    void it("creates, reads, changes and deletes", async () => {
      const api = createApiServer();
      const client = await clientOf(api);
      assert.equal(await client.get("v1/configmaps", ref), undefined);
      await client.create("v1/configmaps", { ...configMap("a"), data: { a: "ü" } });
      await assert.rejects(client.create("v1/configmaps", configMap("a")), (error) => isStatus(error, 409));
      await client.patch("v1/configmaps", ref, { metadata: { labels: { x: "y" } } });
      await client.patch("v1/configmaps", ref, [{ op: "add", path: "/data/b", value: "2" }]);
      const items = await client.list<KubeObject>("v1/configmaps", { labelSelector: "x=y" });
      assert.deepEqual(items[0]?.["data"], { a: "ü", b: "2" });
      assert.equal(await client.delete("v1/configmaps", ref), true);
      assert.equal(await client.delete("v1/configmaps", ref), false);
      await api.close();
    });

    void it("reports what exists, then every change, until it is told to stop", async () => {
      const api = createApiServer();
      const client = await clientOf(api);
      await client.create("v1/configmaps", configMap("a"));
      const stop = new AbortController();
      const { lines, watch, until } = collect(client, stop.signal);
      await watch.synced;
      assert.deepEqual(lines, ["ADDED a"]);
      await client.create("v1/configmaps", configMap("b"));
      await client.patch("v1/configmaps", ref, { data: { x: "1" } });
      await client.delete("v1/configmaps", ref);
      await until("DELETED a");
      assert.deepEqual(lines, ["ADDED a", "ADDED b", "MODIFIED a", "DELETED a"]);
      stop.abort();
      await watch.done;
      await api.close();
    });
  });
}

void describe("the lab's client", () => {
  void it("hands the failure of its listener to whoever waits for the watch", async () => {
    const api = createApiServer();
    const client = createLabClient({ api });
    await client.create("v1/configmaps", configMap("a"));
    const signal = new AbortController().signal;
    const watch = client.watch("v1/configmaps", { signal }, () => {
      throw new RangeError("listener");
    });
    await assert.rejects(watch.done, { name: "RangeError" });
    await api.close();
  });

  void it("cuts off a call that has no answer in time, with its connection", async () => {
    const closed = Promise.withResolvers<void>();
    const silent = createServer((socket) =>
      socket
        .on("error", () => {})
        .on("close", () => closed.resolve())
        .resume(),
    );
    const port = await portOf(silent);
    const client = createLabClient({ baseUrl: `http://127.0.0.1:${port}` }, { callMsMax: 50 });
    await assert.rejects(client.get("v1/configmaps", ref), { name: "AbortError" });
    await closed.promise;
    silent.close();
  });

  void it("reports after a restart of the server what changed, came and went meanwhile", async () => {
    const first = createApiServer();
    const { port, url } = await first.listen();
    const stop = new AbortController();
    for (const name of ["a", "b"]) await createLabClient({ api: first }).create("v1/configmaps", configMap(name));
    const { lines, watch, until } = collect(createLabClient({ baseUrl: url }), stop.signal);
    await watch.synced;
    await first.close();
    const second = createApiServer();
    await createLabClient({ api: second }).create("v1/configmaps", configMap("c"));
    await second.listen({ port });
    await until("ADDED c");
    assert.deepEqual(lines.slice(2), ["DELETED a", "DELETED b", "ADDED c"]);
    stop.abort();
    await watch.done;
    await second.close();
  });
});

void describe("a listener", () => {
  void it("refuses a port that is taken", async () => {
    const taken = createServer();
    const port = await portOf(taken);
    const api = createApiServer();
    await assert.rejects(api.listen({ port }), { code: "EADDRINUSE" });
    taken.close();
  });

  void it("is one of several doors to the same objects", async () => {
    const api = createApiServer();
    const [one, two] = [await api.listen(), await api.listen()];
    await createLabClient({ baseUrl: one.url }).create("v1/configmaps", configMap("a"));
    assert.notEqual(await createLabClient({ baseUrl: two.url }).get("v1/configmaps", ref), undefined);
    await one.close();
    assert.notEqual(await createLabClient({ baseUrl: two.url }).get("v1/configmaps", ref), undefined);
    await api.close();
  });
});
