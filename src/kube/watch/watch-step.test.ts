import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { KubeObject } from "../kinds/resource.ts";
import { type ActiveState, initialState, step, type WatchInput, type WatchState } from "./watch-step.ts";

const context = { nowMs: 1_000, random: () => 0.5 };

function object(name: string, resourceVersion: string): KubeObject {
  return { metadata: { name, uid: name, resourceVersion } };
}

function run(...inputs: readonly WatchInput<KubeObject>[]): WatchState<KubeObject> {
  let state = initialState as WatchState<KubeObject>;
  for (const input of inputs) state = step(state, input, context).state;
  return state;
}

const lastPage = {
  kind: "page",
  page: { items: [object("a", "1")], resourceVersion: "7", continue: undefined },
} as const;
const firstPage = {
  kind: "page",
  page: { items: [object("a", "1")], resourceVersion: "7", continue: "token" },
} as const;
const streamed = { ...lastPage, kind: "streamed" } as const;
const event = { kind: "event", event: { type: "MODIFIED", object: object("a", "9") } } as const;
const failed = { kind: "failed", retryAfterMs: 0 } as const;

describe("step()", () => {
  it("gathers pages and tells the store once, with all of them", () => {
    const listing = run(firstPage);
    const { state, change } = step(listing, lastPage, context);
    assert.deepEqual(change, { kind: "replaced", objects: [object("a", "1"), object("a", "1")] });
    assert.deepEqual(state, { kind: "watching", failures: 0, resourceVersion: "7", heard: false });
  });

  it("goes on from the version of the last event or bookmark", () => {
    const after = run(lastPage, event, { kind: "event", event: { type: "BOOKMARK", resourceVersion: "12" } });
    assert.deepEqual(after, { kind: "watching", failures: 0, resourceVersion: "12", heard: true });
    assert.deepEqual(step(after, { kind: "ended", quiet: false }, context).state, { ...after, heard: false });
  });

  it("backs off where a watch ends before it told anything", () => {
    const after = run(lastPage, { kind: "ended", quiet: false });
    assert.equal(after.kind, "backoff");
    assert.deepEqual(run(lastPage, { kind: "ended", quiet: false }, { kind: "due" }), {
      kind: "watching",
      failures: 1,
      resourceVersion: "7",
      heard: false,
    });
  });

  it("goes on at once after a silence where the watch had worked, and lists anew where it told nothing in all its life", () => {
    const after = run(lastPage, event, { kind: "ended", quiet: true });
    assert.deepEqual(after, { kind: "watching", failures: 0, resourceVersion: "9", heard: false });
    assert.deepEqual(run(lastPage, { kind: "ended", quiet: true }), { ...initialState, known: "7" });
  });

  it("lists anew after 410, at once where the watch had worked", () => {
    assert.deepEqual(run(lastPage, event, { kind: "gone" }), { ...initialState, known: "9" });
    const early = run(lastPage, { kind: "gone" });
    assert.equal(early.kind === "backoff" && early.next.kind, "empty");
  });

  it("asks for all in one where the pages of a list expired", () => {
    assert.deepEqual(run(firstPage, { kind: "gone" }, { kind: "due" }), { kind: "empty", failures: 1, by: "whole" });
  });

  it("streams what there is more of than a page, and tells the store nothing twice", () => {
    const { state, change } = step(run(firstPage), streamed, context);
    assert.deepEqual(change, { kind: "replaced", objects: [object("a", "1")] });
    assert.deepEqual(state, { kind: "watching", failures: 0, resourceVersion: "7", heard: false });
    const back = run(lastPage, event, { kind: "gone" }, firstPage);
    assert.deepEqual(step(back, streamed, context).rewound, true);
  });

  it("goes on with the pages where the server does not stream, and begins with pages where a stream broke", () => {
    const refused = run(firstPage, { kind: "unstreamed" });
    assert.deepEqual(refused, { ...run(firstPage), by: "pages" });
    assert.equal(run(firstPage, { kind: "unstreamed" }, lastPage).kind, "watching");
    const broken = run(firstPage, { kind: "broken" }, { kind: "due" });
    assert.deepEqual(broken, { kind: "empty", failures: 1, by: "pages" });
    assert.deepEqual(run(lastPage, event, { kind: "gone" }), { ...initialState, known: "9" }, "the next list streams");
  });

  it("asks for the same page again after a failure, not before Retry-After", () => {
    const state = run(firstPage, { kind: "failed", retryAfterMs: 5_000 });
    assert.ok(state.kind === "backoff" && state.untilMs >= 6_000);
    assert.equal(state.next.kind === "listing" && state.next.continueToken, "token");
  });

  it("opens the watch again after one broken line, and lists anew after two in a row", () => {
    const once = run(lastPage, { kind: "broken" }, { kind: "due" });
    assert.equal(once.kind, "watching");
    assert.equal(run(lastPage, { kind: "broken" }, { kind: "due" }, { kind: "broken" }, { kind: "due" }).kind, "empty");
  });

  it("asks a server that was away for its version, and lists anew where that ran back", () => {
    const away = { kind: "away", retryAfterMs: 0 } as const;
    const back = (resourceVersion: string) =>
      step(run(lastPage, event, away, { kind: "due" }), { kind: "back", resourceVersion }, context);
    const goesOn = { state: { kind: "watching", failures: 1, resourceVersion: "9", heard: false } };
    const found = ["8", "9", "10", "x"].map(back);
    assert.deepEqual(found, [{ state: { ...initialState, failures: 1 }, rewound: true }, goesOn, goesOn, goesOn]);
  });

  it("says where a list has an earlier version than what was known", () => {
    const listed = (resourceVersion: string) => {
      const page = { items: [], resourceVersion, continue: undefined };
      return step(run(lastPage, event, { kind: "gone" }), { kind: "page", page }, context).rewound;
    };
    assert.deepEqual(["8", "9", "10", "x"].map(listed), [true, false, false, false]);
  });

  it("waits longer with each failure, up to 30 seconds", () => {
    let state = initialState as WatchState<KubeObject>;
    const delays: number[] = [];
    for (let n = 0; n < 12; n++) {
      state = step(state, failed, context).state;
      if (state.kind === "backoff") delays.push(state.untilMs - context.nowMs);
      state = step(state, { kind: "due" }, context).state;
    }
    assert.deepEqual(delays.slice(0, 4), [250, 500, 1000, 2000]);
    assert.equal(delays.at(-1), 15_000);
  });

  it("refuses an input that the state cannot meet", () => {
    assert.throws(() => run({ kind: "ended", quiet: false }), TypeError);
    assert.throws(() => run(lastPage, lastPage), TypeError);
    assert.throws(() => run(failed, failed), TypeError);
  });

  it("never loops without either news or a backoff", () => {
    const away = { kind: "away", retryAfterMs: 0 } as const;
    const listInputs: readonly WatchInput<KubeObject>[] = [{ kind: "gone" }, { kind: "broken" }, failed, away];
    const watchInputs: readonly WatchInput<KubeObject>[] = [...listInputs, { kind: "ended", quiet: false }];
    const states: readonly ActiveState<KubeObject>[] = [
      initialState,
      ...(["stream", "pages"] as const).map(
        (by) => ({ kind: "listing", failures: 0, by, pages: [], continueToken: "t" }) as const,
      ),
      { kind: "watching", failures: 0, resourceVersion: "1", heard: false },
    ];
    fc.assert(
      fc.property(fc.constantFrom(...states), fc.nat(20), fc.constantFrom(...watchInputs), (state, failures, input) => {
        if (state.kind !== "watching" && !listInputs.includes(input)) return;
        const after = step({ ...state, failures }, input, context).state;
        assert.equal(after.kind, "backoff");
        assert.equal(after.failures, failures + 1);
      }),
    );
  });
});
