import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { JsonObject } from "#base";
import { CniError } from "#cni";
import { formatIp, formatPrefix } from "#ip";
import { type ClusterConfig, decodeCoordinatorConfig, settingsOf } from "./config.ts";

function decode(raw: JsonObject) {
  return decodeCoordinatorConfig({ cniVersion: "1.0.0", name: "net", type: "coordinator", raw });
}

function settings(raw: JsonObject, cluster: ClusterConfig = {}) {
  return settingsOf(decode(raw), cluster);
}

function refusedField(raw: JsonObject): unknown {
  try {
    decode(raw);
  } catch (error) {
    assert.ok(error instanceof CniError && error.cniCode === 7);
    assert.ok(typeof error.details["allowed"] === "string");
    return error.details["field"];
  }
  return undefined;
}

describe("settingsOf", () => {
  it("has a default for every field", () => {
    assert.deepEqual(settings({}), {
      mode: "auto",
      firstNic: "eth0",
      hijackCidrs: [],
      policyRoutes: [],
      tunePodRoutes: true,
      podMacPrefix: undefined,
      podDefaultRouteNic: undefined,
      hostRuleTable: 500,
      podRpFilter: 0,
      txQueueLen: 0,
      vethLinkAddress: undefined,
      vethMtuBytes: 1500,
    });
  });

  it("lets the plugin's word win over the cluster's, also where it is false or 0, but not where it is empty", () => {
    const cluster: ClusterConfig = {
      mode: "underlay",
      tunePodRoutes: true,
      txQueueLen: 1000,
      podDefaultRouteNIC: "net1",
      vethMTU: 9000,
      hostRuleTable: 0,
    };
    const merged = settings(
      { mode: "", tunePodRoutes: false, txQueueLen: 0, podDefaultRouteNic: "", vethMTU: 1400 },
      cluster,
    );
    assert.equal(merged.mode, "underlay");
    assert.equal(merged.tunePodRoutes, false);
    assert.equal(merged.txQueueLen, 0);
    assert.equal(merged.podDefaultRouteNic, "net1");
    assert.equal(merged.vethMtuBytes, 1400);
    assert.equal(merged.hostRuleTable, 500);
  });

  it("takes a list whole, in the order Pods, services, others, with its host bits cleared", () => {
    const cluster: ClusterConfig = {
      overlayPodCIDR: ["10.244.0.0/16"],
      serviceCIDR: ["10.96.0.0/12", "fd00:96::/112"],
      hijackCIDR: ["169.254.0.0/16"],
    };
    const merged = settings({ overlayPodCIDR: [], serviceCIDR: [" 10.97.1.1/16 "] }, cluster);
    assert.deepEqual(merged.hijackCidrs.map(formatPrefix), ["10.244.0.0/16", "10.97.0.0/16", "169.254.0.0/16"]);
  });

  it("accepts both words for disabled, from either side", () => {
    for (const word of ["disable", "disabled"]) {
      assert.equal(settings({ mode: word }).mode, "disabled");
      assert.equal(settings({}, { mode: word }).mode, "disabled");
    }
  });

  it("reads a policy route to one address, or to a CIDR with host bits", () => {
    const { policyRoutes } = settings({
      policyRoutes: [
        { dst: "192.168.1.1", gw: "10.6.0.2" },
        { dst: "fd00::5/64", gw: "fd06::2" },
      ],
    });
    assert.deepEqual(
      policyRoutes.map(({ dst, gw }) => [formatPrefix(dst), formatIp(gw)]),
      [
        ["192.168.1.1/32", "10.6.0.2"],
        ["fd00::/64", "fd06::2"],
      ],
    );
  });
});

describe("decodeCoordinatorConfig", () => {
  it("refuses with the field, the value and what is allowed", () => {
    const cases: readonly (readonly [string, JsonObject])[] = [
      ["mode", { mode: "underlai" }],
      ["vethMTU", { vethMTU: 0 }],
      ["vethMTU", { vethMTU: -1 }],
      ["vethMTU", { vethMTU: 67 }],
      ["podRPFilter", { podRPFilter: 3 }],
      ["txQueueLen", { txQueueLen: -1 }],
      ["podMACPrefix", { podMACPrefix: "0a-1b" }],
      ["podMACPrefix", { podMACPrefix: "01:1b" }],
      ["podMACPrefix", { podMACPrefix: "0a:1b:0c" }],
      ["vethLinkAddress", { vethLinkAddress: "fd00::1" }],
      ["serviceCIDR[1]", { serviceCIDR: ["10.0.0.0/8", "10.0.0.0/33"] }],
      ["overlayPodCIDR", { overlayPodCIDR: "10.0.0.0/8" }],
      ["hijackCIDR[0]", { hijackCIDR: [1] }],
      ["policyRoutes[0].dst", { policyRoutes: [{ dst: "x", gw: "10.0.0.1" }] }],
      ["policyRoutes[0].gw", { policyRoutes: [{ dst: "10.0.0.0/8" }] }],
      ["policyRoutes[0]", { policyRoutes: [{ dst: "10.0.0.0/8", gw: "fd00::1" }] }],
      ["tunePodRoutes", { tunePodRoutes: "yes" }],
      ["logOptions.logLevel", { logOptions: { logLevel: "verbose" } }],
      ["logOptions", { logOptions: "debug" }],
    ];
    for (const [field, raw] of cases) assert.equal(refusedField(raw), field, JSON.stringify(raw));
  });

  it("says which addresses of a policy route are not of one family, and what a MTU may be", () => {
    const text = (raw: JsonObject) => {
      try {
        settings(raw);
      } catch (error) {
        return CniError.from(error).text;
      }
      return "";
    };
    assert.match(
      text({ policyRoutes: [{ dst: "10.0.0.0/8", gw: "fd00::1" }] }),
      /route dst "10\.0\.0\.0\/8" and gw "fd00::1" must use the same IP family/,
    );
    assert.match(text({ vethMTU: 0 }), /field vethMTU, value 0, allowed a whole number from 68 to 65535/);
  });

  it("takes the log options of earlier versions, though they have no effect", () => {
    for (const logLevel of ["", "Debug", "panic"]) {
      assert.equal(refusedField({ logOptions: { logLevel, logFile: "/x", logMaxSize: -1 } }), undefined, logLevel);
    }
  });

  it("ignores what earlier versions knew, and takes any negative podRPFilter", () => {
    assert.equal(
      refusedField({ detectGateway: "x", detectOptions: 1, hostRPFilter: 9, multusNicPrefix: "net" }),
      undefined,
    );
    assert.equal(settings({ podRPFilter: -5 }).podRpFilter, -5);
  });
});
