import assert from "node:assert/strict";
import { test } from "node:test";
import { addFailure, withoutAddFailure } from "./execute.ts";
import type { Delegate } from "./types.ts";

test("withoutAddFailure() leaves the plugin's own words of what addFailure() says, and every other text as it is", () => {
  const delegate = { displayName: "kube-system/net" } as Delegate;
  const { message } = addFailure({ namespace: "a", name: "web-0", uid: "u" }, delegate, new Error("no [bridge]: br1"));
  assert.match(message, /^\[a\/web-0\/u:kube-system\/net\]: error adding /);
  assert.equal(withoutAddFailure(message), "no [bridge]: br1");
  assert.equal(withoutAddFailure("no [bridge]: br1"), "no [bridge]: br1");
});
