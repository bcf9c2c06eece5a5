import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { WatchEvent } from "../http/codec.ts";
import type { KubeObject } from "../kinds/resource.ts";
import { streamedPage } from "./streamed-page.ts";

type Event = WatchEvent<KubeObject>;

const object = (name: string, version: number): KubeObject => ({
  metadata: { name, uid: name, resourceVersion: String(version) },
});
const end: Event = { type: "BOOKMARK", resourceVersion: "99", endsList: true };

async function* stream(events: readonly Event[]): AsyncGenerator<Event, void, undefined> {
  yield* events;
}

describe("streamedPage()", () => {
  it("is what exists at the end of the list, whatever changed while it was told", async () => {
    const change = fc.record({ name: fc.constantFrom("a", "b", "c", "d"), isThere: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.subarray(["a", "b", "c", "d"]), fc.array(change), async (initial, changes) => {
        const exists = new Map(initial.map((name) => [name, object(name, 1)]));
        const events: Event[] = [...exists.values()].map((one) => ({ type: "ADDED", object: one }));
        for (const [at, { name, isThere }] of changes.entries()) {
          const before = exists.get(name);
          const now = object(name, 2 + at);
          if (isThere) exists.set(name, now);
          else exists.delete(name);
          if (isThere) events.push({ type: before === undefined ? "ADDED" : "MODIFIED", object: now });
          else if (before !== undefined) events.push({ type: "DELETED", object: now });
          if (at % 3 === 0) events.push({ type: "BOOKMARK", resourceVersion: String(at) });
        }
        const later: Event = { type: "ADDED", object: object("later", 100) };
        const told = stream([...events, end, later]);
        const page = await streamedPage(told, () => {});
        const sorted = (objects: Iterable<KubeObject>) => [...objects].map((one) => JSON.stringify(one)).sort();
        assert.deepEqual(sorted(page?.items ?? []), sorted(exists.values()));
        assert.deepEqual([page?.resourceVersion, page?.continue], ["99", undefined]);
        assert.deepEqual((await told.next()).value, later, "the same watch tells what comes");
      }),
    );
  });

  it("is nothing where the stream ends before the list does", async () => {
    let heard = 0;
    const events: Event[] = [
      { type: "ADDED", object: object("a", 1) },
      { type: "BOOKMARK", resourceVersion: "7" },
    ];
    const page = await streamedPage(stream(events), () => {
      heard += 1;
    });
    assert.deepEqual([page, heard], [undefined, 2]);
  });
});
