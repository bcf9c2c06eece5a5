import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Logger, never, silentLogger } from "#base";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { KubeClient } from "./client.ts";
import { type ConfigMap, configMaps, type Pod, pods } from "./core.ts";
import { keyOf, metadataOf } from "./resource.ts";
import { type StoreOptions, WatchedStore } from "./store.ts";
import { FakeApi, type Fault } from "./testing/fake-api.ts";

const o = { signal: never };

function setUp(options: Partial<StoreOptions<Pod>> = {}, server: { readonly withoutStreams?: boolean } = {}) {
  const clock = new ManualClock();
  const api = new FakeApi({ clock, ...server });
  const client = new KubeClient({ transport: api, clock });
  const random = () => 0.5;
  const store = new WatchedStore<Pod>({
    client,
    resource: pods,
    clock,
    log: silentLogger,
    freeze: true,
    random,
    ...options,
  });
  const stop = new AbortController();
  const running = store.run(stop);
  const end = async () => {
    stop.abort();
    await running;
    assert.equal(clock.sleeping, 0, "nothing is left behind");
    assert.equal(api.watches, 0);
  };
  return { clock, api, store, end };
}

const pod = (name: string, node = "n1") => ({ metadata: { namespace: "x", name }, spec: { nodeName: node } });

/** A store that is synced with Pod a; then the server was backed up, and b and c came. `restore` puts the server back. */
async function backedUp() {
  const made = setUp();
  const { api, store, clock } = made;
  api.apply(pods, pod("a"));
  await store.synced(o);
  const restore = api.backup();
  for (const name of ["b", "c"]) api.apply(pods, pod(name));
  await clock.advance(1_000);
  return { ...made, restore };
}

describe("WatchedStore", () => {
  it("shows what exists, then every change", async () => {
    const { api, store, clock, end } = setUp();
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
    const { api, store, clock, end } = setUp({ indexes: { node: (p) => [p.spec?.nodeName ?? ""] } });
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
    const { api, store, clock, end } = setUp();
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

  it("streams what there is more of than 500, and watches on with the same request", async () => {
    const { api, store, clock, end } = setUp();
    for (let n = 0; n < 501; n++) api.apply(pods, pod(`p${n}`));
    await store.synced(o);
    const asked = api.requests.map(({ path }) => new URLSearchParams(path.split("?")[1]));
    assert.deepEqual(
      asked.map((query) => [query.get("limit"), query.get("sendInitialEvents"), query.get("resourceVersionMatch")]),
      [
        ["500", null, null],
        [null, "true", "NotOlderThan"],
      ],
    );
    api.remove(pods, { namespace: "x", name: "p7" });
    await clock.advance(0);
    assert.deepEqual([store.list().length, store.version, api.requests.length], [500, "503", 2]);
    await end();
  });

  it("lists in pages where the server does not stream, and where a stream ends early or says nothing", async () => {
    const refusing = setUp({ pageItems: 2 }, { withoutStreams: true });
    for (const name of ["a", "b", "c", "d", "e"]) refusing.api.apply(pods, pod(name));
    await refusing.store.synced(o);
    const pages = ({ api }: typeof refusing) => api.requests.filter(({ path }) => path.includes("continue=")).length;
    assert.deepEqual([refusing.store.list().length, pages(refusing), refusing.store.breaks], [5, 2, 0]);
    await refusing.end();
    for (const trouble of ["cutWatches", "deafenWatches"] as const) {
      const broken = setUp({ pageItems: 2 });
      const { api, store, clock, end } = broken;
      for (const name of ["a", "b", "c"]) api.apply(pods, pod(name));
      api.pauseWatches();
      await clock.advance(0);
      assert.equal(api.watches, 1);
      if (trouble === "cutWatches") api.cutWatches("end");
      else api.deafenWatches();
      api.resumeWatches();
      await clock.advance(200_000);
      assert.deepEqual([store.list().length, pages(broken), store.breaks], [3, 1, 1], trouble);
      await end();
    }
  });

  it("lists anew where that is asked for during a stream", async () => {
    const { api, store, clock, end } = setUp({ pageItems: 1 });
    for (const name of ["a", "b"]) api.apply(pods, pod(name));
    api.pauseWatches();
    await clock.advance(0);
    store.relist();
    api.resumeWatches();
    await store.synced(o);
    assert.deepEqual([store.list().length, store.breaks, api.watches], [2, 0, 1]);
    await end();
  });

  it("lists in pages of 500 and starts over when they expire", async () => {
    const { api, store, clock, end } = setUp({}, { withoutStreams: true });
    for (let n = 0; n < 1_100; n++) api.apply(pods, pod(`p${n}`));
    api.fail((r) => r.path.includes("continue="), { kind: "status", status: 410, reason: "Expired" });
    await clock.advance(2_000);
    assert.equal(store.list().length, 1_100);
    const lists = api.requests
      .filter((r) => !r.path.includes("watch="))
      .map((r) => new URLSearchParams(r.path.split("?")[1]));
    assert.deepEqual(
      lists.map((query) => query.get("limit")),
      ["500", "500", null],
    );
    await end();
  });

  it("goes on from the last version after a cut, a bad line or an end, without a new list", async () => {
    const { api, store, clock, end } = setUp();
    await store.synced(o);
    await clock.advance(0);
    for (const trouble of [() => api.cutWatches(), () => api.sendBadLine(), () => api.cutWatches("end")]) {
      api.apply(pods, pod("news", `n${api.requests.length}`));
      await clock.advance(0);
      trouble();
      api.apply(pods, pod("missed", `n${api.requests.length}`));
      await clock.advance(1_000);
      assert.equal(
        store.get("x/missed")?.spec?.nodeName,
        api.read(pods, { namespace: "x", name: "missed" })?.spec?.nodeName,
      );
    }
    assert.equal(api.requests.filter(({ path }) => !/watch=|limit=1$/.test(path)).length, 1);
    await end();
  });

  it("opens a watch anew that is doubted, from where it stands, unless the server spoke just now", async () => {
    const { api, store, clock, end } = setUp();
    await store.synced(o);
    // The watch is open a moment after the list.
    await clock.advance(0);
    api.bookmark();
    await clock.advance(10_000);
    api.deafenWatches();
    api.apply(pods, pod("a"));
    await clock.advance(0);
    assert.equal(store.get("x/a"), undefined);
    store.doubt();
    await clock.advance(0);
    assert.equal(store.get("x/a")?.metadata.name, "a");
    const requests = api.requests.length;
    store.doubt();
    await clock.advance(4_900);
    store.doubt();
    await clock.advance(0);
    assert.equal(api.requests.length, requests, "it lives: it has spoken less than 5 s ago");
    assert.equal(api.requests.filter((r) => !r.path.includes("watch=")).length, 1);
    await end();
  });

  it("follows a server that was restored from a backup, whose versions begin earlier", async () => {
    const { api, store, clock, end, restore } = await backedUp();
    restore();
    await clock.advance(1_000);
    api.apply(pods, pod("d"));
    await clock.advance(160_000);
    assert.deepEqual(
      store.list().map(({ metadata }) => metadata.name),
      ["a", "d"],
    );
    api.apply(pods, pod("e"));
    await clock.advance(0);
    assert.ok(store.get("x/e"), "the watch works");
    await end();
  });

  it("follows it within a second where it was away meanwhile, as such a server is, and tells that versions ran back", async () => {
    const { api, store, clock, end, restore } = await backedUp();
    let rewinds = 0;
    store.rewound(() => {
      rewinds += 1;
    });
    api.fail(() => true, { kind: "not-sent" });
    api.cutWatches();
    restore();
    await clock.advance(2_000);
    assert.deepEqual([store.list().map(({ metadata }) => metadata.name), rewinds], [["a"], 1]);
    // The same object, at the same version, in another state.
    api.apply(pods, pod("a", "n2"));
    await clock.advance(0);
    restore();
    api.apply(pods, pod("a", "n3"));
    await clock.advance(0);
    assert.equal(store.get("x/a")?.spec?.nodeName, "n2");
    store.relist();
    await clock.advance(1_000);
    assert.equal(store.get("x/a")?.spec?.nodeName, "n3");
    // An interruption of any other kind is none, and no reason to list anew.
    const lists = () => api.requests.filter(({ path }) => !/watch=|limit=1$/.test(path)).length;
    const before = lists();
    api.fail(() => true, { kind: "not-sent" }, 3);
    api.cutWatches();
    await clock.advance(30_000);
    api.apply(pods, pod("d"));
    await clock.advance(0);
    assert.deepEqual([store.list().length, rewinds, lists()], [2, 1, before]);
    await end();
  });

  it("opens a new watch after a silence, which bookmarks prevent", async () => {
    const { api, store, clock, end } = setUp();
    await store.synced(o);
    const watches = () => api.requests.filter((r) => r.path.includes("watch=")).length;
    await clock.advance(140_000);
    api.bookmark();
    await clock.advance(140_000);
    assert.deepEqual([watches(), store.heardAtMs], [1, 140_000]);
    await clock.advance(9_999);
    assert.equal(watches(), 1);
    await clock.advance(1);
    assert.equal(watches(), 2, "at once, because the former watch had worked");
    await end();
  });

  it("waits for an object to become what is asked for, or to go", async () => {
    const { api, store, clock, end } = setUp();
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
    const { api, store, end } = setUp({ log, trim: ({ status: _, ...rest }) => rest as Pod });
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
    const { api, clock, end } = setUp({ log });
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

type Action =
  | { readonly kind: "apply"; readonly name: string; readonly value: number }
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "cut"; readonly how: "end" | "break" }
  | { readonly kind: "badLine" | "compact" | "bookmark" | "pause" | "resume" | "deafen" | "doubt" }
  | { readonly kind: "fault"; readonly fault: Fault }
  | { readonly kind: "pass"; readonly ms: number };

const name = fc.constantFrom("a", "b", "c", "d", "e");
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.constantFrom<Fault>({ kind: "not-sent" }, { kind: "lost-before" }, { kind: "lost-after" }, { kind: "hang" }),
  fc.constant<Fault>({ kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 1 }),
  fc.constantFrom<Fault>(
    { kind: "status", status: 410, reason: "Expired" },
    { kind: "status", status: 500, reason: "InternalError" },
  ),
  fc.record({ kind: fc.constant("late-answer" as const), ms: fc.nat(20_000) }),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("apply" as const), name, value: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("remove" as const), name }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(0, 0, 100, 5_000, 200_000) }),
  },
  fc.record({ kind: fc.constant("cut" as const), how: fc.constantFrom("end" as const, "break" as const) }),
  fc.constantFrom<Action>(
    { kind: "badLine" },
    { kind: "compact" },
    { kind: "bookmark" },
    { kind: "pause" },
    { kind: "resume" },
    { kind: "deafen" },
    { kind: "doubt" },
  ),
  fc.record({ kind: fc.constant("fault" as const), fault }),
);

/** Everything is in one page, or streamed, or in pages. */
const server = fc.record({ pageItems: fc.constantFrom(2, 500), withoutStreams: fc.boolean() });

describe("WatchedStore under faults", () => {
  it("shows only what existed, tells every change in step, and ends equal to the server", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), server, (actions, of) => history(actions, of)),
      { numRuns: 150 },
    );
  });
});

/** Plays one history against a store, with a mirror kept from its notifications. */
async function history(
  actions: readonly Action[],
  { pageItems, withoutStreams }: { readonly pageItems: number; readonly withoutStreams: boolean },
): Promise<void> {
  const clock = new ManualClock();
  const api = new FakeApi({ clock, withoutStreams });
  const client = new KubeClient({ transport: api, clock });
  const indexes = { value: (m: ConfigMap) => [m.data?.["value"] ?? ""] };
  const store = new WatchedStore({
    client,
    resource: configMaps,
    clock,
    log: silentLogger,
    freeze: true,
    indexes,
    pageItems,
    random: () => 0.5,
  });
  const existed = new Set<string>();
  const identity = ({ metadata, data }: ConfigMap) => JSON.stringify([metadata.uid, metadata.resourceVersion, data]);
  const mirror = new Map<string, ConfigMap>();
  store.changed((key, now, before) => {
    assert.equal(mirror.get(key), before, "what was before is what was told last");
    if (now === undefined) mirror.delete(key);
    else mirror.set(key, now);
  });
  const stop = new AbortController();
  const running = store.run(stop);
  const check = () => {
    for (const object of store.list()) {
      assert.ok(existed.has(identity(object)), `never existed: ${identity(object)}`);
      assert.ok(store.by("value", object.data?.["value"] ?? "").includes(object));
    }
  };
  for (const act of actions) {
    await play(act, api, clock, store);
    for (const object of api.all(configMaps)) existed.add(identity(object));
    check();
  }
  api.resumeWatches();
  await clock.advance(600_000);
  check();
  const sorted = (objects: Iterable<ConfigMap>) => [...objects].map(identity).sort();
  assert.deepEqual(sorted(store.list()), sorted(api.all(configMaps)));
  assert.deepEqual(sorted(mirror.values()), sorted(store.list()));
  for (const object of store.list()) assert.equal(store.get(keyOf(object.metadata)), object);
  stop.abort();
  await running;
}

async function play(
  act: Action,
  api: FakeApi,
  clock: ManualClock,
  store: Pick<WatchedStore<ConfigMap>, "doubt">,
): Promise<void> {
  switch (act.kind) {
    case "deafen":
      api.deafenWatches();
      break;
    case "doubt":
      store.doubt();
      break;
    case "apply":
      api.apply(configMaps, { metadata: { namespace: "x", name: act.name }, data: { value: String(act.value) } });
      break;
    case "remove":
      api.remove(configMaps, { namespace: "x", name: act.name });
      break;
    case "cut":
      api.cutWatches(act.how);
      break;
    case "badLine":
      api.sendBadLine();
      break;
    case "compact":
      api.compact();
      break;
    case "bookmark":
      api.bookmark();
      break;
    case "pause":
      api.pauseWatches();
      break;
    case "resume":
      api.resumeWatches();
      break;
    case "fault":
      api.fail(() => true, act.fault);
      break;
    case "pass":
      await clock.advance(act.ms);
      break;
  }
}
