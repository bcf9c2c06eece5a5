import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { hasCode } from "#base";
import { isPodAlive, isPodUid, type Pod, pods, type Store } from "#kube";
import { TestApi, testPod } from "../testing/api.ts";
import { findPod } from "./pods.ts";

describe("isPodAlive()", () => {
  const policies = ["Always", "OnFailure", "Never"];
  const alive = (phase: string, restartPolicy: string, reason?: string) =>
    isPodAlive(testPod("a", { spec: { restartPolicy }, status: { phase, reason } }));

  it("is true for every Pod that has not ended", () => {
    for (const phase of ["Pending", "Running", "Unknown"]) {
      for (const policy of policies) assert.equal(alive(phase, policy), true, `${phase} ${policy}`);
    }
    assert.equal(isPodAlive(testPod("a")), true);
  });

  it("knows which of the ended ones will be restarted", () => {
    const table = policies.map((policy) => [alive("Succeeded", policy), alive("Failed", policy)]);
    assert.deepEqual(table, [
      [true, true],
      [false, true],
      [false, false],
    ]);
  });

  it("is false for an evicted Pod, whatever its policy", () => {
    for (const policy of policies) assert.equal(alive("Failed", policy, "Evicted"), false);
  });

  it("is false for a Pod that is being deleted", () => {
    const metadata = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    assert.equal(isPodAlive(testPod("a", { metadata, status: { phase: "Running" } })), false);
  });
});

describe("isPodUid()", () => {
  it("knows a static Pod by its mirror's annotations", () => {
    const annotations = { "kubernetes.io/config.hash": "h1", "kubernetes.io/config.mirror": "h2" };
    const mirror = testPod("etcd", { metadata: { annotations } });
    assert.deepEqual(
      ["uid-etcd", "h1", "h2", "", "other"].map((uid) => isPodUid(mirror, uid)),
      [true, true, true, true, false],
    );
  });

  it("does not take an absent annotation for a match", () => {
    assert.equal(isPodUid(testPod("a"), "undefined"), false);
  });
});

describe("findPod()", () => {
  let api: TestApi;
  let store: Store<Pod>;

  beforeEach(async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    api = new TestApi();
    store = await api.store(pods);
  });
  afterEach(() => {
    api[Symbol.dispose]();
    mock.timers.reset();
  });

  const find = (uid: string) =>
    findPod(
      { store, client: api.client, node: "n1" },
      { namespace: "default", name: "a", uid },
      { signal: api.signal },
    );
  const gets = () => api.fake.requests.filter(({ path }) => path.endsWith("/pods/a")).length;
  const create = (more = {}) => api.fake.apply(pods, testPod("a", { spec: { nodeName: "n1" }, ...more })).metadata.uid;
  /** The watch has had its chance. */
  const lag = async () => {
    await api.clock.advance(0);
    mock.timers.tick(1_500);
  };

  it("takes a Pod that the watch has shown, without a request", async () => {
    const uid = create();
    await api.clock.advance(0);
    assert.equal((await find(uid)).metadata.uid, uid);
    assert.equal(gets(), 0);
  });

  it("waits a moment for a watch that lags", async () => {
    api.fake.pauseWatches();
    const uid = create();
    const finding = find(uid);
    await api.clock.advance(0);
    api.fake.resumeWatches();
    assert.equal((await finding).metadata.uid, uid);
    assert.equal(gets(), 0);
  });

  it("asks the API server where the runtime gives no UID: the watch may show a former Pod of that name", async () => {
    create();
    await api.clock.advance(0);
    api.fake.pauseWatches();
    api.fake.remove(pods, { namespace: "default", name: "a" });
    const uid = create();
    assert.equal((await find("")).metadata.uid, uid);
    assert.equal(gets(), 1);
  });

  it("asks the API server once where the watch shows nothing", async () => {
    api.fake.pauseWatches();
    const uid = create();
    const finding = find(uid);
    await lag();
    assert.equal((await finding).metadata.uid, uid);
    assert.equal(gets(), 1);
  });

  it("has a watch opened anew that missed the Pod, so that the next one need not wait", async () => {
    await api.clock.advance(10_000);
    api.fake.deafenWatches();
    const uid = create();
    const finding = find(uid);
    await lag();
    assert.equal((await finding).metadata.uid, uid);
    await api.clock.advance(0);
    assert.equal((await find(uid)).metadata.uid, uid);
    assert.equal(gets(), 1);
  });

  it("asks for the newer one where the watch still shows a Pod of the same name", async () => {
    create();
    await api.clock.advance(0);
    api.fake.pauseWatches();
    api.fake.remove(pods, { namespace: "default", name: "a" });
    const uid = create();
    const finding = find(uid);
    await lag();
    assert.equal((await finding).metadata.uid, uid);
  });

  it("refuses a Pod that does not exist", async () => {
    const finding = assert.rejects(find("x"), (error) => hasCode(error, "POD_NOT_FOUND"));
    await lag();
    await finding;
  });

  it("refuses when the name belongs to another Pod by now", async () => {
    const uid = create();
    const finding = assert.rejects(
      find("x"),
      (error) => hasCode(error, "POD_REPLACED") && error.details["found"] === uid,
    );
    await lag();
    await finding;
  });

  it("refuses a late call without a UID when the name belongs to a Pod of another node, or of none, by now", async () => {
    for (const spec of [{ nodeName: "n2" }, {}]) {
      create({ spec });
      await assert.rejects(find(""), (error) => hasCode(error, "POD_REPLACED"));
    }
  });

  it("refuses a dead Pod, known or asked for", async () => {
    const status = { phase: "Failed", reason: "Evicted" };
    const uid = create({ status });
    await api.clock.advance(0);
    await assert.rejects(find(uid), (error) => hasCode(error, "POD_DEAD"));
    api.fake.pauseWatches();
    api.fake.remove(pods, { namespace: "default", name: "a" });
    const next = create({ status });
    const finding = assert.rejects(find(next), (error) => hasCode(error, "POD_DEAD"));
    await lag();
    await finding;
  });

  it("ends with the call", async () => {
    const call = new AbortController();
    const finding = findPod(
      { store, client: api.client, node: "n1" },
      { namespace: "default", name: "a", uid: "x" },
      { signal: call.signal },
    );
    call.abort(new Error("given up"));
    await assert.rejects(finding, /given up/);
  });
});
