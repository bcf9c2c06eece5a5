import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { formatIp, parsePrefix } from "#ip";
import type { Netns } from "#linux";
import { masterAddresses } from "./master.ts";

const devices = mkdtempSync(join(tmpdir(), "pci-"));
after(() => rmSync(devices, { recursive: true, force: true }));
mkdirSync(join(devices, "0000:3b:02.1", "physfn", "net", "ens1f0"), { recursive: true });
mkdirSync(join(devices, "0000:3b:00.0", "net", "ens1f0"), { recursive: true });
mkdirSync(join(devices, "0000:5e:02.0", "physfn", "net", "moved"), { recursive: true });

/** A host with one interface of two addresses. */
const rtnl = {
  link: (name: string) => (name === "ens1f0" ? { index: 7, name } : undefined),
  addresses: () => [{ address: parsePrefix("10.6.0.9/16") }, { address: parsePrefix("fd00::9/64") }],
};
const read = (device: string) => masterAddresses(device, { rtnl } as unknown as Netns, devices).map(formatIp);

describe("masterAddresses()", () => {
  it("are those of the physical function of a virtual one", () => {
    assert.deepEqual(read("0000:3b:02.1"), ["10.6.0.9", "fd00::9"]);
    assert.deepEqual(read("0000:3B:02.1"), ["10.6.0.9", "fd00::9"]);
  });

  it("are none for a physical function, one that is not on the host, an unknown device, and what is no PCI address", () => {
    for (const device of ["0000:3b:00.0", "0000:5e:02.0", "0000:ff:00.0", "", "../0000:3b:02.1", "ens1f0"]) {
      assert.deepEqual(read(device), [], device);
    }
  });
});
