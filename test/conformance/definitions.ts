import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Body } from "./api.ts";
import { merge, refused, type Suite } from "./suite.ts";
import { widget, widgets } from "./widgets.ts";

/** What a CustomResourceDefinition asks for is done: pruning, defaults, validation, rules, discovery. */
export function definitions({ call, made }: Suite): void {
  describe("a custom definition", () => {
    it("drops, warns of or refuses what it does not know", async () => {
      const unknown = (name: string) => widget(name, { mode: "slow", unknown: 1 });
      const kept = await call("POST", `${widgets}?fieldValidation=Ignore`, unknown("pruned"));
      assert.equal(kept.status, 201);
      assert.equal(kept.body.spec.unknown, undefined);
      const warned = await call("POST", widgets, unknown("warned"));
      assert.match(String(warned.headers["warning"]), /unknown field \\?"spec\.unknown\\?"/);
      const words = /strict decoding error: unknown field "spec\.unknown"/;
      refused(await call("POST", `${widgets}?fieldValidation=Strict`, unknown("strict")), 400, "BadRequest", words);
    });

    it("fills in defaults, inside of defaults too", async () => {
      const { spec } = await made(widgets, widget("defaulted"));
      assert.deepEqual(spec, { mode: "slow", count: 2, nested: { enabled: true } });
    });

    it("keeps whole numbers that doubles cannot", async () => {
      const text = JSON.stringify(widget("large", { mode: "slow", size: 0 })).replace(
        '"size":0',
        '"size":9007199254740991',
      );
      const { body } = await call("POST", widgets, text, { type: "application/json" });
      assert.equal(body.spec.size, 9_007_199_254_740_991);
    });

    const wrong: readonly (readonly [string, object, RegExp])[] = [
      ["enum", { mode: "other" }, /spec\.mode: Unsupported value: "other": supported values: "fast", "slow", "never"/],
      ["required", { count: 1 }, /spec\.mode: Required value/],
      [
        "type",
        { mode: "slow", count: "one" },
        /spec\.count: Invalid value: "string": spec\.count in body must be of type integer: "string"/,
      ],
      [
        "minimum",
        { mode: "slow", count: 0 },
        /spec\.count: Invalid value: 0: spec\.count in body should be greater than or equal to 1/,
      ],
      [
        "pattern",
        { mode: "slow", name: "ABC" },
        /spec\.name: Invalid value: "ABC": spec\.name in body should match '\^\[a-z\]\+\$'/,
      ],
      [
        "length",
        { mode: "slow", name: "abcdef" },
        /spec\.name: Too long: may not be (more than 5 bytes|longer than 5)/,
      ],
      [
        "items",
        { mode: "slow", ips: ["10.1", "10.2", "10.3", "10.4"] },
        /spec\.ips: Too many: 4: must have at most 3 items/,
      ],
      ["time", { mode: "slow", until: "tomorrow" }, /spec\.until: Invalid value: .*date-time/],
      ["values", { mode: "slow", limits: { a: "b" } }, /spec\.limits\.a: Invalid value: "string"/],
      ["rule", { mode: "never" }, /spec: Invalid value: (?:"object": )?mode must not be never/],
      [
        "rule's expression",
        { mode: "slow", ips: ["10.1", "11.1"] },
        /spec: Invalid value: (?:"object": )?not of ten: 10\.1 11\.1/,
      ],
    ];
    for (const [what, spec, words] of wrong) {
      it(`refuses a wrong ${what} in the server's words`, async () => {
        refused(await call("POST", `${widgets}?fieldValidation=Strict`, widget("wrong", spec)), 422, "Invalid", words);
      });
    }

    it("compares with what was, by rules of change", async () => {
      await made(widgets, widget("renamed", { mode: "slow", name: "first" }));
      const patch = { spec: { name: "other" } };
      refused(await call("PATCH", `${widgets}/renamed`, patch, merge), 422, "Invalid", /name cannot be changed/);
      assert.equal((await call("PATCH", `${widgets}/renamed`, { spec: { count: 3 } }, merge)).status, 200);
    });

    it("is found by names and categories", async () => {
      const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
      const { body } = await call("GET", "/apis", undefined, { accept });
      const group = body.items.find(({ metadata }: Body) => metadata.name === "conformance.example.com");
      const [resource] = group.versions[0].resources;
      assert.deepEqual(
        [resource.resource, resource.shortNames, resource.categories],
        ["widgets", ["wd"], ["all-widgets"]],
      );
    });
  });
}
