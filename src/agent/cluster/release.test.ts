import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { uninstallAnnotation } from "#api";
import { type DaemonSet, daemonSets } from "#kube";
import { TestApi } from "../testing/api.ts";
import { Release } from "./release.ts";

const ref = { namespace: "kube-system", name: "spiderpool-agent" };

describe("Release", () => {
  async function start(api: TestApi, existing: boolean) {
    const create = () => api.client.create(daemonSets, { metadata: ref } as unknown as DaemonSet, api);
    if (existing) await create();
    const release = new Release(await api.store(daemonSets, { namespace: ref.namespace }), ref);
    return { release, create };
  }

  it("goes when its DaemonSet is deleted", async () => {
    using api = new TestApi();
    const { release } = await start(api, true);
    assert.equal(release.isGoing, false);
    await api.client.delete(daemonSets, ref, api);
    await api.clock.advance(0);
    assert.equal(release.isGoing, true);
  });

  it("goes when its DaemonSet is marked", async () => {
    using api = new TestApi();
    const { release } = await start(api, true);
    const body = { metadata: { annotations: { [uninstallAnnotation]: "true" } } };
    await api.client.patch(daemonSets, ref, { kind: "merge", body }, api);
    await api.clock.advance(0);
    assert.equal(release.isGoing, true);
  });

  it("does not go because a DaemonSet of that name was never seen", async () => {
    using api = new TestApi();
    const { release, create } = await start(api, false);
    assert.equal(release.isGoing, false);
    await create();
    await api.clock.advance(0);
    assert.equal(release.isGoing, false);
  });
});
