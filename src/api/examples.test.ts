import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import * as api from "./index.ts";

const folder = new URL("../../examples/", import.meta.url);

/** A fenced block of a guide, and the number of its first line. */
interface Block {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

const guides = new URL("../../docs/guides/", import.meta.url);

function blocksOf(file: string): readonly Block[] {
  const page = readFileSync(new URL(file, guides), "utf8");
  return Array.from(page.matchAll(/^```(\w+)\n(.*?)^```$/gms), ({ index, 1: language = "", 2: text = "" }) => ({
    file,
    language,
    text,
    line: page.slice(0, index).split("\n").length,
  }));
}

const manifests = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".yaml"))
  .flatMap((name) =>
    parseAllDocuments(readFileSync(new URL(name, folder), "utf8")).map((document) => {
      assert.deepEqual(document.errors, [], name);
      return [name, document.toJS() as api.Submitted<api.SpiderIPPool & api.SpiderMultusConfig>] as const;
    }),
  );

describe("the examples", () => {
  for (const [name, object] of manifests.filter(([, { kind }]) => kind === "SpiderIPPool")) {
    test(`the pool of ${name} is admitted`, () =>
      assert.deepEqual(api.validatePool(api.defaultPool(object)).map(api.formatViolation), []));
  }
  for (const [name, object] of manifests.filter(([, { kind }]) => kind === "SpiderMultusConfig")) {
    test(`the network of ${name} is admitted without warning`, () => {
      const admitted = api.defaultMultusConfig(object);
      assert.deepEqual(api.validateMultusConfig(admitted).map(api.formatViolation), []);
      assert.deepEqual(api.warnOfMultusConfig(admitted), []);
    });
  }

  test("the network of Open vSwitch has the ovs plugin, our IPAM and the coordinator", () => {
    const [, network] = manifests.find(([name]) => name === "ovs/network.yaml") ?? assert.fail("it is missing");
    const { metadata, spec } = api.renderNetwork(api.defaultMultusConfig(network) as api.SpiderMultusConfig);
    assert.deepEqual([metadata.namespace, metadata.name], ["kube-system", "ovs-conf"]);
    assert.equal(
      spec?.config,
      '{"cniVersion":"0.3.1","name":"ovs-conf","plugins":[{"type":"ovs","bridge":"br1","ipam":{"type":"spiderpool"}},{"type":"coordinator"}]}',
    );
  });
});

describe("the manifests of the guides", () => {
  const pages = readdirSync(guides).map(blocksOf);
  const yaml = pages
    .flat()
    .filter(({ language, text }) => language === "yaml" && text.includes("apiVersion: spiderpool"));
  const documents = yaml.flatMap(({ file, line, text }) =>
    parseAllDocuments(text).map((document) => {
      assert.deepEqual(document.errors, [], `${file}:${line}`);
      return [`${file}:${line}`, document.toJS() as api.Submitted<api.SpiderIPPool & api.SpiderMultusConfig>] as const;
    }),
  );
  for (const [place, object] of documents) {
    test(`${object.kind} ${object.metadata.name} at ${place} is admitted without warning`, () => {
      if (object.kind === "SpiderIPPool") {
        assert.deepEqual(api.validatePool(api.defaultPool(object)).map(api.formatViolation), []);
        return;
      }
      assert.equal(object.kind, "SpiderMultusConfig");
      const admitted = api.defaultMultusConfig(object);
      assert.deepEqual(api.validateMultusConfig(admitted).map(api.formatViolation), []);
      assert.deepEqual(api.warnOfMultusConfig(admitted), []);
    });
  }

  // A configuration follows the manifest that it is made of.
  const rendered = pages.flatMap((blocks) =>
    blocks.flatMap((block, at) => {
      const before = blocks[at - 1];
      return block.language === "json" && before !== undefined && yaml.includes(before)
        ? [[before, block] as const]
        : [];
    }),
  );
  test("are there, with the configurations that they become", () => assert.ok(rendered.length >= 5));
  for (const [manifest, json] of rendered) {
    test(`the configuration at ${json.file}:${json.line} is what the manifest before it becomes`, () => {
      const [document] = parseAllDocuments(manifest.text);
      const config = api.defaultMultusConfig(document?.toJS() as api.SpiderMultusConfig);
      assert.equal(api.renderNetwork(config).spec?.config, JSON.stringify(JSON.parse(json.text)));
    });
  }
});

describe("the walk-through", () => {
  const english = blocksOf("walkthrough.md");

  test("has the same commands, manifests and outputs in both languages", () => {
    // Commands and outputs name no language.
    const fenced = (file: string) => readFileSync(new URL(file, guides), "utf8").match(/^```\w*\n.*?^```$/gms) ?? [];
    const blocks = fenced("walkthrough.md");
    assert.ok(blocks.some((block) => block.includes("kubectl get spiderendpoints")));
    assert.deepEqual(fenced("walkthrough.zh.md"), blocks);
  });

  test("shows the manifests that the lab applies", () => {
    const shown = english.filter(({ language }) => language === "yaml").map(({ text }) => parse(text));
    const applied = ["pool.yaml", "network.yaml", "app.yaml"].map((name) =>
      parse(readFileSync(new URL(`ovs/${name}`, folder), "utf8")),
    );
    assert.deepEqual(shown, applied);
  });
});

describe("links between documents", () => {
  const docs = new URL("../../docs/", import.meta.url);
  const pages = readdirSync(docs, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md"));
  // As GitHub makes anchors of headings: lower case, punctuation dropped, spaces to hyphens.
  const anchorsOf = (page: string) =>
    Array.from(page.matchAll(/^#+ (.+)$/gm), ([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    );
  for (const page of pages) {
    test(`of docs/${page} lead somewhere`, () => {
      const url = new URL(page, docs);
      const text = readFileSync(url, "utf8").replace(/^```.*?^```$|`[^`\n]*`/gms, "");
      for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const [path = "", anchor] = target.split("#");
        const found = path === "" ? url : new URL(path, url);
        assert.ok(existsSync(found), `${target} in docs/${page}`);
        if (anchor === undefined) continue;
        assert.ok(anchorsOf(readFileSync(found, "utf8")).includes(anchor), `the heading ${target} in docs/${page}`);
      }
    });
  }
});
