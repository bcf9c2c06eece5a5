import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeResult, encodeResult } from "#cni";
import { formatIp, parseIp } from "#ip";
import { applyDefaultRoutes, planDefaultRoutes } from "./routes.ts";

/** Plans as text; one wish for each delegate: undefined, or the gateways. */
function plans(...wishes: (readonly string[] | undefined)[]): readonly string[] {
  const delegates = wishes.map((wish, at) => ({
    displayName: `n${at}`,
    ...(wish === undefined
      ? {}
      : { selection: { namespace: "n", name: `n${at}`, defaultRoute: wish.map((ip) => parseIp(ip)) } }),
  }));
  return planDefaultRoutes(delegates).map(({ remove, add }) => `-${remove.join()} +${add.map(formatIp).join()}`);
}

describe("planDefaultRoutes()", () => {
  it("changes nothing where no network asks", () => {
    assert.deepEqual(plans(undefined, undefined), ["- +", "- +"]);
  });

  it("takes the routes of a family from all where one has a gateway of it", () => {
    assert.deepEqual(plans(undefined, ["10.0.0.1"], undefined), ["-4 +", "-4 +10.0.0.1", "-4 +"]);
    assert.deepEqual(plans(undefined, ["10.0.0.1", "fd00::1"]), ["-4,6 +", "-4,6 +10.0.0.1,fd00::1"]);
    assert.deepEqual(plans(["fd00::1"], ["10.0.0.1"]), ["-4,6 +fd00::1", "-4,6 +10.0.0.1"]);
  });

  it("lets a network with an empty list keep its own, and takes them from all others", () => {
    assert.deepEqual(plans(undefined, [], undefined), ["-4,6 +", "- +", "-4,6 +"]);
    assert.deepEqual(plans(undefined, [], ["10.0.0.1"]), ["-4,6 +", "-4 +", "-4,6 +10.0.0.1"]);
  });

  it("refuses two gateways of a family, on one network or on two, and two that keep theirs", () => {
    for (const wishes of [
      [["10.0.0.1", "10.0.0.2"]],
      [["10.0.0.1"], ["10.0.0.2"]],
      [["fd00::1"], ["fd00::2"]],
      [[], []],
    ]) {
      assert.throws(() => plans(...wishes), { cniCode: 7, message: "multus does not support ECMP for default-route" });
    }
  });
});

describe("applyDefaultRoutes()", () => {
  it("replaces default routes of the given families and no other route", () => {
    const routes = [{ dst: "0.0.0.0/0", gw: "10.0.0.9" }, { dst: "10.9.0.0/16" }, { dst: "::/0", gw: "fd00::9" }];
    const result = decodeResult({ cniVersion: "1.0.0", routes });
    const after = applyDefaultRoutes(result, { remove: [4], add: [parseIp("10.0.0.1")] });
    assert.deepEqual(encodeResult(after, "1.0.0")["routes"], [
      { dst: "10.9.0.0/16" },
      { dst: "::/0", gw: "fd00::9" },
      { dst: "0.0.0.0/0", gw: "10.0.0.1" },
    ]);
  });
});
