import assert from "node:assert/strict";
import { it } from "node:test";
import { formatShimSettings } from "./shim-settings.ts";

it("formatShimSettings() writes the path, then the deadlines", () => {
  const waitMs = { add: 1, del: 2, status: 3 };
  assert.equal(formatShimSettings({ socketPath: "/run/a.sock", waitMs, replyMs: 4 }), "/run/a.sock\n1 2 3 4\n");
  assert.equal(formatShimSettings({ socketPath: "/run/a.sock" }), "/run/a.sock\n30000 30000 1000 110000\n");
});

it("formatShimSettings() refuses paths that no socket can have", () => {
  for (const socketPath of ["relative", "/two\nlines", `/${"x".repeat(107)}`]) {
    assert.throws(() => formatShimSettings({ socketPath }), RangeError);
  }
});
