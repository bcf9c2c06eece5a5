import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readDevices } from "./devices.ts";

const folder = mkdtempSync(join(tmpdir(), "devices-"));
const path = join(folder, "device-plugins", "kubelet_internal_checkpoint");
mkdirSync(join(folder, "device-plugins"));
after(() => rmSync(folder, { recursive: true, force: true }));

const write = (...entries: readonly object[]) =>
  writeFileSync(path, JSON.stringify({ Data: { PodDeviceEntries: entries, RegisteredDevices: {} }, Checksum: 1 }));

describe("readDevices()", () => {
  it("finds none where there is no checkpoint, and none of other Pods", () => {
    assert.equal(readDevices("u1", join(folder, "none")).size, 0);
    write({ PodUID: "u2", ContainerName: "c", ResourceName: "r", DeviceIDs: ["1"] });
    assert.equal(readDevices("u1", folder).size, 0);
  });

  it("puts the devices of all containers together, in the old form and in that by NUMA node", () => {
    write(
      {
        PodUID: "u1",
        ContainerName: "a",
        ResourceName: "vendor/nic",
        DeviceIDs: { "0": ["0000:1"], "-1": ["0000:2"] },
      },
      { PodUID: "u1", ContainerName: "b", ResourceName: "vendor/nic", DeviceIDs: ["0000:3", "0000:1"] },
      { PodUID: "u1", ContainerName: "b", ResourceName: "vendor/other", DeviceIDs: null },
    );
    assert.deepEqual(
      Array.from(readDevices("u1", folder), ([resource, ids]) => [resource, ids.toSorted()]),
      [
        ["vendor/nic", ["0000:1", "0000:2", "0000:3"]],
        ["vendor/other", []],
      ],
    );
  });

  it("says which file cannot be read", () => {
    writeFileSync(path, "{");
    assert.throws(() => readDevices("u1", folder), { cniCode: 5, details: { path } });
  });
});
