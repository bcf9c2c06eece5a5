// Links that this machine's kernel may not have: ipvlan, 802.1Q, bonds, macvlan on any parent, and the datapath of Open
// vSwitch in the kernel. They are tried in a user-mode kernel, booted once; each test there is a sub-test here.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runInUml, whyNot } from "./uml/boot.ts";

const files = [
  "src/plugins/sub-interface/plugin.test.ts",
  "src/plugins/ifacer/plugin.test.ts",
  "src/plugins/ovs/kernel-datapath.test.ts",
];
const timeout = 280_000;

test("in a user-mode kernel", { timeout, skip: whyNot() ?? false }, async (t) => {
  const { outcomes, console, ended } = await runInUml(files, { signal: t.signal });
  for (const { path, isSuite, passed, durationMs, skipped, error } of outcomes) {
    if (isSuite && passed && skipped === undefined) continue;
    await t.test(`${path.join(" › ")} (${Math.round(durationMs)} ms there)`, () => {
      assert.ok(passed, error ?? "it failed");
      assert.equal(skipped, undefined, "a feature that this kernel shall have was not tried");
    });
  }
  assert.ok(ended, `the tests did not come to their end:\n${console.slice(-4_000)}`);
  const tried = outcomes.map(({ path }) => path[0]);
  for (const suite of ["the macvlan plugin", "the ipvlan plugin", "the vlan plugin", "ifacer's bonds"]) {
    assert.ok(tried.includes(suite), `${suite} was not tried`);
  }
});
