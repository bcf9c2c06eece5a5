import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../../src/base/testing/manual-clock.ts";
import { at, createApiServer, type LabApi, listAt, textAt } from "../index.ts";
import { call, openWatch } from "../testing/call.ts";
import { Store } from "./store.ts";

const maps = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, colour: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default", labels: { colour } },
});
const put = async (api: LabApi, name: string, colour: string) => {
  const path = `${maps}/${name}`;
  const exists = (await call(api, "GET", path)).status === 200;
  await call(api, exists ? "PUT" : "POST", exists ? path : maps, configMap(name, colour));
};
const namesOf = (items: readonly unknown[]) => items.map((item) => textAt(item, "metadata", "name")).sort();

void describe("a watch", () => {
  void it("that starts from a list and applies every event arrives at the next list, with selectors too", async () => {
    const step = fc.record({ name: fc.constantFrom("a", "b", "c"), colour: fc.constantFrom("red", "blue", "gone") });
    await fc.assert(
      fc.asyncProperty(fc.array(step), fc.array(step), async (before, after) => {
        const api = createApiServer({ clock: new ManualClock() });
        const apply = async (steps: typeof before) => {
          for (const { name, colour } of steps) {
            if (colour === "gone") await call(api, "DELETE", `${maps}/${name}`);
            else await put(api, name, colour);
          }
        };
        const selected = `${maps}?labelSelector=colour%3Dred`;
        await apply(before);
        const list = await call(api, "GET", selected);
        const seen = new Set(namesOf(listAt(list.body, "items")));
        await apply(after);
        const from = textAt(list.body, "metadata", "resourceVersion");
        const watch = await openWatch(api, `${selected}&watch=true&resourceVersion=${from}`);
        await put(api, "last", "red");
        for (let name = ""; name !== "last"; ) {
          const line = await watch.next();
          name = textAt(line?.object, "metadata", "name");
          assert.equal(seen.has(name), line?.type !== "ADDED", `${line?.type} ${name}`);
          if (line?.type === "DELETED") seen.delete(name);
          else seen.add(name);
        }
        watch.close();
        assert.deepEqual([...seen].sort(), namesOf(listAt((await call(api, "GET", selected)).body, "items")));
        await api.close();
      }),
      { numRuns: 50 },
    );
  });

  void it("without a version opens with what exists, and marks the end of it when asked to", async () => {
    const api = createApiServer();
    await put(api, "a", "red");
    const watch = await openWatch(api, `${maps}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true`);
    assert.deepEqual(
      [(await watch.next())?.type, (await watch.next())?.object["metadata"]],
      [
        "ADDED",
        {
          resourceVersion: textAt((await call(api, "GET", maps)).body, "metadata", "resourceVersion"),
          creationTimestamp: null,
          annotations: { "k8s.io/initial-events-end": "true" },
        },
      ],
    );
    await put(api, "a", "blue");
    assert.equal((await watch.next())?.type, "MODIFIED");
    watch.close();
    assert.equal(await watch.next(), undefined);
    await api.close();
  });

  void it("from a forgotten version is told so", async () => {
    const api = createApiServer({ store: new Store({ historyMin: 4 }) });
    for (let i = 0; i < 10; i++) await put(api, "a", String(i));
    const watch = await openWatch(api, `${maps}?watch=true&resourceVersion=2`);
    const line = await watch.next();
    assert.deepEqual([line?.type, at(line?.object, "code"), at(line?.object, "reason")], ["ERROR", 410, "Expired"]);
    assert.match(String(line?.object["message"]), /^too old resource version: 2 \(\d+\)$/);
    assert.equal(await watch.next(), undefined);
    await api.close();
  });

  void it("bookmarks every minute and ends at its timeout", async () => {
    const clock = new ManualClock();
    const api = createApiServer({ clock });
    const watch = await openWatch(
      api,
      `${maps}?watch=true&resourceVersion=9&allowWatchBookmarks=true&timeoutSeconds=90`,
    );
    const bookmark = watch.next();
    await clock.advance(60_000);
    assert.equal((await bookmark)?.type, "BOOKMARK");
    const end = watch.next();
    await clock.advance(30_000);
    assert.equal(await end, undefined);
  });

  void it("gives each event as a table of one row, or as metadata", async () => {
    const api = createApiServer();
    await put(api, "a", "red");
    const rows = await openWatch(api, `${maps}?watch=true`, "application/json;as=Table;v=v1;g=meta.k8s.io");
    assert.deepEqual(at((await rows.next())?.object, "rows", 0, "cells", 0), "a");
    const partial = await openWatch(
      api,
      `${maps}?watch=true`,
      "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    );
    assert.equal((await partial.next())?.object["kind"], "PartialObjectMetadata");
    await api.close();
    assert.deepEqual([await rows.next(), await partial.next()], [undefined, undefined]);
  });
});
