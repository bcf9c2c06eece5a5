import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { packUid, packVersion, unpackUid } from "./packed.ts";

describe("what is kept packed", () => {
  it("gives every UID back, whatever text it is", () => {
    const texts = fc.oneof(fc.uuid(), fc.string(), fc.string({ minLength: 16, maxLength: 16 }));
    fc.assert(fc.property(texts, (text) => assert.equal(unpackUid(packUid(text)), text)));
    const config = "4f1c1b1e9a5d4b5c8f0e2a3b4c5d6e7f";
    assert.equal(unpackUid(packUid(config)), config, "a static Pod's");
    assert.equal(packUid("0b0a5f4e-1f1a-4f4e-8f4e-00ff12345678").length, 16);
  });

  it("gives every version back", () => {
    const texts = fc.oneof(fc.nat().map(String), fc.bigInt({ min: 0n, max: 2n ** 64n }).map(String), fc.string());
    fc.assert(fc.property(texts, (text) => assert.equal(String(packVersion(text)), text)));
  });
});
