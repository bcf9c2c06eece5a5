import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readOptions } from "./options.ts";

describe("readOptions()", () => {
  it("names what is missing, and the commands", () => {
    assert.throws(() => readOptions(["install"], {}), /--objects is not set; SPIDERPOOL_POD_NAMESPACE is not set/);
    assert.throws(() => readOptions(["wipe"], {}), /"wipe", allowed are install, crds, clean/);
    const read = readOptions(["clean", "--release=r", "--controller=c", "--agents=d", "--job=a", "--job=b"], {
      SPIDERPOOL_POD_NAMESPACE: "ns",
    });
    assert.ok(!("print" in read) && read.command === "clean");
    assert.deepEqual([read.jobs, read.force, read.yes], [["a", "b"], false, false]);
  });
});
