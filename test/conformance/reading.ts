import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Body } from "./api.ts";
import { map, maps, merge, refused, type Suite } from "./suite.ts";
import { widget, widgets } from "./widgets.ts";

/** How objects are listed and watched. */
export function reading({ call, made, names, watch }: Suite): void {
  describe("listing", () => {
    it("selects by labels and fields", async () => {
      const labels = [{ tier: "web", size: "1" }, { tier: "db" }, { other: "x" }];
      for (const [index, set] of labels.entries())
        await made(maps, map(`select-${index}`, { labels: { suite: "select", ...set } }));
      const found = async (query: string) => names((await call("GET", `${maps}?${query}`)).body);
      const by = (selector: string) => found(`labelSelector=${encodeURIComponent(`suite=select,${selector}`)}`);
      assert.deepEqual(await by("tier in (web,db)"), ["select-0", "select-1"]);
      assert.deepEqual(await by("tier notin (web)"), ["select-1", "select-2"]);
      assert.deepEqual(await by("tier!=db"), ["select-0", "select-2"]);
      assert.deepEqual(await by("!tier"), ["select-2"]);
      assert.deepEqual(await by("tier,size"), ["select-0"]);
      assert.deepEqual(await found("fieldSelector=metadata.name%3Dselect-1"), ["select-1"]);
      assert.equal((await call("GET", `${maps}?fieldSelector=data.a%3D1`)).status, 400);
      assert.equal((await call("GET", `${maps}?labelSelector=${encodeURIComponent("a in (")}`)).status, 400);
    });

    it("comes in pages of one moment", async () => {
      for (let index = 0; index < 5; index += 1)
        await made(widgets, widget(`page-${index}`, { mode: "slow" }, { labels: { page: "1" } }));
      const first = (await call("GET", `${widgets}?labelSelector=page&limit=2`)).body;
      assert.deepEqual(names(first), ["page-0", "page-1"]);
      assert.ok(first.metadata.continue);
      await made(widgets, widget("page-9", { mode: "slow" }, { labels: { page: "1" } }));
      const seen = [...names(first)];
      for (let next = first.metadata.continue; next; ) {
        const query = `labelSelector=page&limit=2&continue=${encodeURIComponent(next)}`;
        const { body } = await call("GET", `${widgets}?${query}`);
        seen.push(...names(body));
        assert.equal(body.metadata.resourceVersion, first.metadata.resourceVersion);
        next = body.metadata.continue;
      }
      assert.deepEqual(seen, ["page-0", "page-1", "page-2", "page-3", "page-4"]);
      refused(await call("GET", `${widgets}?limit=2&continue=nonsense`), 400, "BadRequest", /continue key/);
    });

    it("as metadata carries no more than that, as a table what columns say", async () => {
      await made(widgets, widget("shown", { mode: "fast", count: 7 }));
      const partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
      const { body: list } = await call("GET", `${widgets}?fieldSelector=metadata.name%3Dshown`, undefined, {
        accept: partial,
      });
      assert.equal(list.kind, "PartialObjectMetadataList");
      assert.deepEqual(
        Object.keys(list.items[0]).filter((key) => !["kind", "apiVersion"].includes(key)),
        ["metadata"],
      );
      const one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
      const patched = { status: { seen: 1 } };
      const { body: answer } = await call("PATCH", `${widgets}/shown/status`, patched, { ...merge, accept: one });
      assert.deepEqual(
        [answer.kind, answer.metadata.name, answer.status],
        ["PartialObjectMetadata", "shown", undefined],
      );
      const { body: created } = await call("POST", widgets, widget("shown-too"), { accept: one });
      assert.deepEqual([created.kind, created.spec], ["PartialObjectMetadata", undefined]);
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
      const { body: table } = await call("GET", `${widgets}/shown`, undefined, { accept });
      assert.deepEqual(
        table.columnDefinitions.map(({ name }: Body) => name),
        ["Name", "MODE", "COUNT", "AGE"],
      );
      assert.deepEqual(table.rows[0].cells.slice(0, 3), ["shown", "fast", 7]);
      assert.equal(table.rows[0].object.kind, "PartialObjectMetadata");
      const { body: whole } = await call("GET", `${widgets}/shown?includeObject=Object`, undefined, { accept });
      assert.equal(whole.rows[0].object.spec.mode, "fast");
    });
  });

  describe("watching", () => {
    const types = (events: readonly Body[]) => events.map(({ type, object }) => `${type} ${object.metadata.name}`);

    it("tells what happened since a version", async () => {
      const { body: list } = await call("GET", maps);
      await made(maps, map("seen"));
      await call("PATCH", `${maps}/seen`, { data: { a: "1" } }, merge);
      await call("DELETE", `${maps}/seen`);
      const path = `${maps}?watch=true&resourceVersion=${list.metadata.resourceVersion}&fieldSelector=metadata.name%3Dseen`;
      const events = await watch(path, ({ length }) => length >= 3);
      assert.deepEqual(types(events), ["ADDED seen", "MODIFIED seen", "DELETED seen"]);
      const versions = events.map(({ object }) => Number(object.metadata.resourceVersion));
      assert.deepEqual(
        versions,
        [...versions].sort((a, b) => a - b),
      );
    });

    it("tells of an object that leaves or enters a selector", async () => {
      const { metadata } = await made(maps, map("mover", { labels: { here: "yes" } }));
      await call("PATCH", `${maps}/mover`, { metadata: { labels: { here: "no" } } }, merge);
      await call("PATCH", `${maps}/mover`, { metadata: { labels: { here: "yes" } } }, merge);
      const path = `${maps}?watch=true&resourceVersion=${metadata.resourceVersion}&labelSelector=here%3Dyes`;
      assert.deepEqual(types(await watch(path, ({ length }) => length >= 2)), ["DELETED mover", "ADDED mover"]);
    });

    it("begins with all there is where no version is given", async () => {
      await made(maps, map("initial", { labels: { initial: "1" } }));
      const events = await watch(`${maps}?watch=true&labelSelector=initial`, ({ length }) => length >= 1);
      assert.deepEqual(types(events), ["ADDED initial"]);
    });

    it("as a streaming list ends the beginning with a bookmark", async () => {
      await made(maps, map("streamed", { labels: { streamed: "1" } }));
      const query =
        "watch=true&labelSelector=streamed&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
      const { minor } = (await call("GET", "/version")).body;
      if (Number.parseInt(minor, 10) < 32) {
        // Clients list instead.
        refused(await call("GET", `${maps}?${query}`), 422, "Invalid", /sendInitialEvents is forbidden for watch/);
        return;
      }
      const events = await watch(`${maps}?${query}`, (seen) => seen.some(({ type }) => type === "BOOKMARK"));
      assert.deepEqual(
        events.map(({ type }) => type),
        ["ADDED", "BOOKMARK"],
      );
      const { annotations, resourceVersion } = events[1].object.metadata;
      assert.equal(annotations["k8s.io/initial-events-end"], "true");
      assert.ok(Number(resourceVersion) >= Number(events[0].object.metadata.resourceVersion));
    });

    it("ends after the time that was asked for", async () => {
      const { body } = await call("GET", maps);
      const events = await watch(
        `${maps}?watch=true&timeoutSeconds=1&resourceVersion=${body.metadata.resourceVersion}&fieldSelector=metadata.name%3Dnone`,
        () => false,
      );
      assert.deepEqual(events, []);
    });
  });
}
