import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Logger, never, silentLogger } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { KubeClient } from "../client.ts";
import { type Pod, pods } from "../kinds/core.ts";
import { metadataOf } from "../kinds/resource.ts";
import { FakeApi } from "../testing/fake-api.ts";
import { pod, watchedPods } from "../testing/watched-pods.ts";
import { WatchedStore } from "./store.ts";

const o = { signal: never };

describe("WatchedStore", () => {
  it("shows what exists, then every change", async () => {
    const { api, store, clock, end } = watchedPods();
    api.apply(pods, pod("a"));
    assert.equal(store.isSynced, false);
    await store.synced(o);
    const changes: string[] = [];
    store.changed((key, now, before) => changes.push(`${key} ${before?.spec?.nodeName} → ${now?.spec?.nodeName}`));
    api.apply(pods, pod("b"));
    api.apply(pods, pod("a", "n2"));
    api.remove(pods, { namespace: "x", name: "b" });
    await clock.advance(0);
    assert.deepEqual(changes, ["x/b undefined → n1", "x/a n1 → n2", "x/b n1 → undefined"]);
    assert.deepEqual(
      store.list().map((p) => p.metadata.name),
      ["a"],
    );
    await end();
  });

  it("finds objects by index in their present version only", async () => {
    const { api, store, clock, end } = watchedPods({ indexes: { node: (p) => [p.spec?.nodeName ?? ""] } });
    api.apply(pods, pod("a"));
    api.apply(pods, pod("b"));
    await store.synced(o);
    api.apply(pods, pod("a", "n2"));
    await clock.advance(0);
    const names = (node: string) => store.by("node", node).map((p) => p.metadata.name);
    assert.deepEqual([names("n1"), names("n2"), names("n3")], [["b"], ["a"], []]);
    assert.throws(() => store.by("nodes", "n1"), TypeError);
    await end();
  });

  it("detects after a relist what was deleted meanwhile, and a name that came back as another object", async () => {
    const { api, store, clock, end } = watchedPods();
    api.apply(pods, pod("gone"));
    api.apply(pods, pod("again"));
    api.apply(pods, pod("same"));
    await store.synced(o);
    const changes: string[] = [];
    store.changed((key, now) => changes.push(`${key} ${now === undefined ? "gone" : "there"}`));
    api.pauseWatches();
    for (const name of ["gone", "again"]) api.remove(pods, { namespace: "x", name });
    api.apply(pods, pod("again"));
    api.compact();
    api.cutWatches();
    api.resumeWatches();
    await clock.advance(60_000);
    assert.deepEqual(changes, ["x/gone gone", "x/again gone", "x/again there"]);
    await end();
  });

  it("waits for an object to become what is asked for, or to go", async () => {
    const { api, store, clock, end } = watchedPods();
    await store.synced(o);
    const waiting = store.waitFor("x/a", (p) => p?.spec?.nodeName === "n2", o);
    api.apply(pods, pod("a"));
    await clock.advance(0);
    api.apply(pods, pod("a", "n2"));
    assert.equal((await waiting)?.spec?.nodeName, "n2");
    const going = store.waitFor("x/a", (p) => p === undefined, o);
    api.remove(pods, { namespace: "x", name: "a" });
    assert.equal(await going, undefined);
    const deadline = new AbortController();
    const never = store.waitFor("x/z", (p) => p !== undefined, deadline);
    deadline.abort(new Error("late"));
    await assert.rejects(never, /late/);
    await end();
  });

  it("keeps a trimmed, frozen object and survives a listener that throws", async () => {
    const errors: string[] = [];
    const log: Logger = { ...silentLogger, error: (_fields, message) => void errors.push(message) };
    const { api, store, end } = watchedPods({ log, trim: ({ status: _, ...rest }) => rest as Pod });
    store.changed(() => {
      throw new Error("mistake");
    });
    api.apply(pods, { ...pod("a"), status: { phase: "Running" } });
    await store.synced(o);
    const kept = store.get("x/a");
    assert.equal(kept?.status, undefined);
    assert.ok(Object.isFrozen(kept?.metadata));
    assert.deepEqual(errors, ["a store listener failed"]);
    await end();
  });

  it("watches metadata only where the resource says so, and forgets what leaves the selection", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const client = new KubeClient({ transport: api, clock });
    const store = new WatchedStore({
      client,
      resource: metadataOf(pods),
      clock,
      log: silentLogger,
      labelSelector: "on",
    });
    const stop = new AbortController();
    const running = store.run(stop);
    api.apply(pods, { ...pod("a"), metadata: { namespace: "x", name: "a", labels: { on: "" } } });
    await store.synced(o);
    assert.deepEqual(Object.keys(store.get("x/a") ?? {}), ["kind", "apiVersion", "metadata"]);
    api.apply(pods, pod("a"));
    await clock.advance(0);
    assert.equal(store.get("x/a"), undefined);
    stop.abort();
    await running;
  });

  it("tells trouble once, and once that it is over", async () => {
    const lines: string[] = [];
    const log: Logger = {
      ...silentLogger,
      warn: (_fields, message) => void lines.push(message),
      info: (_fields, message) => void lines.push(message),
    };
    const { api, clock, end } = watchedPods({ log });
    api.fail(() => true, { kind: "not-sent" }, 5);
    await clock.advance(60_000);
    api.apply(pods, pod("a"));
    await clock.advance(0);
    assert.deepEqual(lines, [
      "the watch of the Kubernetes API is interrupted",
      "the watch of the Kubernetes API works again",
    ]);
    await end();
  });
});
