import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { silentLogger } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { KubeClient } from "../client.ts";
import { type ConfigMap, configMaps } from "../kinds/core.ts";
import { keyOf } from "../kinds/resource.ts";
import { FakeApi, type Fault } from "../testing/fake-api.ts";
import { WatchedStore } from "./store.ts";

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
