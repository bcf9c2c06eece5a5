import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { mergePatch, strategicMerge } from "./patch.ts";

void describe("mergePatch", () => {
  // RFC 7386, appendix A.
  const rows: [unknown, unknown, unknown][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, expected] of rows) {
    void it(`makes ${JSON.stringify(expected)} of ${JSON.stringify(target)}`, () =>
      assert.deepEqual(mergePatch(target, patch), expected));
  }
});

void describe("strategicMerge", () => {
  const spec = {
    containers: [
      { name: "a", image: "a:1", ports: [{ containerPort: 80, name: "http" }] },
      { name: "b", image: "b:1" },
    ],
    tolerations: [{ key: "x" }],
  };

  void it("merges containers and ports by key and replaces lists that have none", () => {
    const patch = {
      containers: [{ name: "a", image: "a:2", ports: [{ containerPort: 81 }] }],
      tolerations: [{ key: "y" }],
    };
    assert.deepEqual(strategicMerge(spec, patch), {
      containers: [
        { name: "a", image: "a:2", ports: [{ containerPort: 80, name: "http" }, { containerPort: 81 }] },
        { name: "b", image: "b:1" },
      ],
      tolerations: [{ key: "y" }],
    });
  });

  void it("obeys the directives", () => {
    const patch = {
      $retainKeys: ["containers", "strategy"],
      "$setElementOrder/containers": [{ name: "c" }, { name: "a" }],
      containers: [
        { name: "b", $patch: "delete" },
        { name: "c", image: "c:1" },
      ],
    };
    const { containers } = strategicMerge(spec, patch) as typeof spec;
    assert.deepEqual(
      containers.map(({ name }) => name),
      ["c", "a"],
    );
  });

  void it("is a merge patch where no list and no directive is in it", () => {
    const value = fc.oneof(fc.integer(), fc.constant(null), fc.dictionary(fc.constantFrom("a", "b"), fc.integer()));
    const tree = fc.dictionary(fc.constantFrom("a", "b", "c"), value);
    fc.assert(
      fc.property(tree, tree, (target, patch) =>
        assert.deepEqual(strategicMerge(target, patch), mergePatch(target, patch)),
      ),
    );
  });
});
