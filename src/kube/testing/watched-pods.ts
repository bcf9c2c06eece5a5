import assert from "node:assert/strict";
import { silentLogger } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { KubeClient } from "../client.ts";
import { type Pod, pods } from "../kinds/core.ts";
import { type StoreOptions, WatchedStore } from "../watch/store.ts";
import { FakeApi } from "./fake-api.ts";

/** A running store of Pods, its API server and its clock. `end` stops it and checks that no timer and no watch is left. */
export function watchedPods(
  options: Partial<StoreOptions<Pod>> = {},
  server: { readonly withoutStreams?: boolean } = {},
) {
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

/** A Pod `x/<name>` on a node. */
export const pod = (name: string, node = "n1") => ({ metadata: { namespace: "x", name }, spec: { nodeName: node } });
