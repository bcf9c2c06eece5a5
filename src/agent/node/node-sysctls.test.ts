import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { silentLogger } from "#base";
import { hostNetns, readSysctl, writeSysctl } from "#linux";
import { isolated } from "../../linux/testing/isolated.ts";
import { nodeSettings, restoreNodeSysctls, tuneNodeSysctls } from "./node-sysctls.ts";

if (isolated(import.meta.url)) {
  const host = hostNetns();
  /** Those that this namespace has: some exist only in the first one. */
  const present = nodeSettings.filter(({ key }) => readSysctl(host, key) !== undefined);
  const now = () => Object.fromEntries(present.map(({ key }) => [key, readSysctl(host, key)]));
  const tune = (families: readonly (4 | 6)[] = [4, 6]) =>
    tuneNodeSysctls({ host, stateDir, families, log: silentLogger });
  let stateDir = "";

  beforeEach(() => {
    stateDir = mkdtempSync("/run/state-");
    for (const { key, value } of present) writeSysctl(host, key, value === 0 ? 1 : 0);
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  describe("the settings of a node", () => {
    it("are set, and have their earlier values again after the uninstallation", () => {
      const before = now();
      assert.ok(present.length >= 4);
      tune();
      for (const { key, value } of present) assert.equal(readSysctl(host, key), String(value), key);
      tune(); // A second agent finds all in place and keeps the first one's record.
      assert.deepEqual(restoreNodeSysctls({ host, stateDir }).toSorted(), present.map(({ key }) => key).toSorted());
      assert.deepEqual(now(), before);
      assert.deepEqual(readdirSync(stateDir), []);
      assert.deepEqual(restoreNodeSysctls({ host, stateDir }), []);
    });

    it("keep the value of before the first agent, whatever came between, and what somebody set since", () => {
      const before = now();
      tune();
      writeSysctl(host, "net/ipv4/conf/all/rp_filter", 2);
      tune();
      writeSysctl(host, "net/ipv4/conf/all/arp_notify", 0);
      restoreNodeSysctls({ host, stateDir });
      assert.deepEqual(now(), { ...before, "net/ipv4/conf/all/arp_notify": "0" });
    });

    it("of a family that is off are left alone", () => {
      tune([4]);
      assert.equal(readSysctl(host, "net/ipv6/conf/all/forwarding"), "0");
      assert.equal(readSysctl(host, "net/ipv4/conf/all/forwarding"), "1");
    });

    it("are restored only as far as the record can be believed", () => {
      for (const text of [
        "",
        "[]",
        "null",
        '{"net/ipv4/conf/all/forwarding":{}}',
        '{"net/ipv4/ip_default_ttl":{"before":"1","set":"64"}}',
      ]) {
        writeFileSync(join(stateDir, "node-sysctls.json"), text);
        assert.deepEqual(restoreNodeSysctls({ host, stateDir }), []);
      }
    });
  });
}
