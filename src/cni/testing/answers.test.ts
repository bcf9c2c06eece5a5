import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { supportedVersions } from "../versions.ts";
import { assertAnswer } from "./answers.ts";

function resultOf(cniVersion: string) {
  const old = cniVersion.startsWith("0.");
  return {
    cniVersion,
    interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/run/netns/x" }],
    ips: [{ ...(old && { version: "4" }), interface: 0, address: "10.1.0.5/16", gateway: "10.1.0.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }],
    ...(old && { dns: {} }),
  };
}

const answered = (cniVersion: string, stdout: object | string, more: { verb?: string; exitCode?: number } = {}) =>
  assertAnswer({
    verb: "ADD",
    stdin: JSON.stringify({ cniVersion }),
    exitCode: 0,
    ...more,
    stdout: typeof stdout === "string" ? stdout : JSON.stringify(stdout),
  });

describe("the check of plugins' answers", () => {
  for (const version of supportedVersions) {
    const right = resultOf(version);
    const [ip, link] = [right.ips[0], right.interfaces[0]];
    const wrong: Readonly<Record<string, object>> = {
      "another version": resultOf(version === "1.0.0" ? "1.1.0" : "1.0.0"),
      null: { ...right, routes: null },
      "an empty list": { ...right, routes: [] },
      "an unknown field": { ...right, more: 1 },
      "an interface without a name": { ...right, interfaces: [{ ...link, name: "" }] },
      "an address without its length": { ...right, ips: [{ ...ip, address: "10.1.0.5" }] },
      "a gateway of the other family": { ...right, ips: [{ ...ip, gateway: "fd00::1" }] },
      "an index beyond the interfaces": { ...right, ips: [{ ...ip, interface: 1 }] },
      "the version of an address where it does not belong": version.startsWith("0.")
        ? { ...right, ips: [{ ...ip, version: undefined }] }
        : { ...right, ips: [{ ...ip, version: "4" }] },
      "a field of a later version": version.startsWith("0.")
        ? { ...right, interfaces: [{ ...link, mtu: 1500 }] }
        : { ...right, ip4: { ip: "10.1.0.5/16" } },
    };
    it(`takes a right result of ${version} and no wrong one`, () => {
      answered(version, right);
      for (const [what, result] of Object.entries(wrong)) assert.throws(() => answered(version, result), /ADD/, what);
    });
  }

  it("takes right errors and no wrong ones", () => {
    const right = { cniVersion: "1.0.0", code: 7, msg: "no", details: "more" };
    const of = { verb: "CHECK", exitCode: 1 };
    answered("1.0.0", right, of);
    const { cniVersion, ...unversioned } = right;
    for (const wrong of [{ ...right, code: 12 }, { ...right, msg: "" }, { ...right, stack: "" }, unversioned])
      assert.throws(() => answered(cniVersion, wrong, of), /CHECK/);
    assert.throws(() => answered(cniVersion, right, { ...of, exitCode: 2 }), /2 CHECK/);
    const ignored = { ...right, msg: "port not found" };
    answered(cniVersion, ignored, of);
    assert.throws(() => answered(cniVersion, ignored, { ...of, verb: "DEL" }));
  });

  it("lets only ADD and VERSION say something", () => {
    answered("1.1.0", "", { verb: "STATUS" });
    assert.throws(() => answered("1.1.0", "{}", { verb: "STATUS" }));
    answered("1.1.0", { cniVersion: "1.1.0", supportedVersions }, { verb: "VERSION" });
    assert.throws(() => answered("1.1.0", { cniVersion: "1.1.0", supportedVersions: [] }, { verb: "VERSION" }));
  });
});
