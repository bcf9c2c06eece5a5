import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { never } from "#base";
import { pods } from "../kinds/core.ts";
import { pod, watchedPods } from "../testing/watched-pods.ts";

const o = { signal: never };

/** A store that is synced with Pod a; then the server was backed up, and b and c came. `restore` puts the server back. */
async function backedUp() {
  const made = watchedPods();
  const { api, store, clock } = made;
  api.apply(pods, pod("a"));
  await store.synced(o);
  const restore = api.backup();
  for (const name of ["b", "c"]) api.apply(pods, pod(name));
  await clock.advance(1_000);
  return { ...made, restore };
}

describe("the watcher of a store", () => {
  it("streams what there is more of than 500, and watches on with the same request", async () => {
    const { api, store, clock, end } = watchedPods();
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

  it("streams whatever there is where it is told to, by one request, and lists where the server does not stream", async () => {
    for (const withoutStreams of [false, true]) {
      const { api, store, clock, end } = watchedPods({ pageItems: 0 }, { withoutStreams });
      api.apply(pods, pod("a"));
      await store.synced(o);
      api.apply(pods, pod("b"));
      await clock.advance(0);
      assert.deepEqual([store.list().length, store.breaks, api.requests.length], [2, 0, withoutStreams ? 3 : 1]);
      await end();
    }
  });

  it("lists in pages where the server does not stream, and where a stream ends early or says nothing", async () => {
    const refusing = watchedPods({ pageItems: 2 }, { withoutStreams: true });
    for (const name of ["a", "b", "c", "d", "e"]) refusing.api.apply(pods, pod(name));
    await refusing.store.synced(o);
    const pages = ({ api }: typeof refusing) => api.requests.filter(({ path }) => path.includes("continue=")).length;
    assert.deepEqual([refusing.store.list().length, pages(refusing), refusing.store.breaks], [5, 2, 0]);
    await refusing.end();
    for (const trouble of ["cutWatches", "deafenWatches"] as const) {
      const broken = watchedPods({ pageItems: 2 });
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
    const { api, store, clock, end } = watchedPods({ pageItems: 1 });
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
    const { api, store, clock, end } = watchedPods({}, { withoutStreams: true });
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
    const { api, store, clock, end } = watchedPods();
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
    const { api, store, clock, end } = watchedPods();
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
    const { api, store, clock, end } = watchedPods();
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
});
