import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { finalizer } from "../group.ts";
import { formatViolation } from "../rules/violation.ts";
import { meta } from "../testing/objects.ts";
import { defaultCoordinator } from "./defaults.ts";
import { coordinatorRules, validateCoordinator } from "./rules.ts";
import type { SpiderCoordinator, SpiderCoordinatorSpec } from "./types.ts";

const coordinator = (spec: SpiderCoordinatorSpec): SpiderCoordinator => ({
  metadata: meta("default"),
  spec: { podCIDRType: "auto", ...spec },
});

const broken: Readonly<Record<string, readonly [SpiderCoordinatorSpec, string]>> = {
  "coordinator-pod-cidr-type": [
    { podCIDRType: "weave" as never },
    'spec.podCIDRType: Unsupported value: "weave": supported values: "auto", "cluster", "calico", "cilium", "none"',
  ],
  "coordinator-hijack-cidr": [
    { hijackCIDR: ["10.0.0.1", "x"] },
    'spec.hijackCIDR[1]: Invalid value: "x": must be an IP address or a CIDR',
  ],
  "coordinator-policy-routes": [
    { policyRoutes: [{ dst: "10.0.0.0/8", gw: "fd00::1" }] },
    "spec.policyRoutes[0].gw: Invalid value: \"fd00::1\": invalid IP format in IPv4 'fd00::1': it is an IPv6 address",
  ],
  "coordinator-mac-prefix": [
    { podMACPrefix: "01:00" },
    "spec.podMACPrefix: Invalid value: \"01:00\": must be two octets in hexadecimal, 'hh:hh', and the lowest bit of the first must be 0 (unicast)",
  ],
  "coordinator-tx-queue-len": [
    { txQueueLen: -1 },
    "spec.txQueueLen: Invalid value: -1: must be greater than or equal to 0",
  ],
  "coordinator-rp-filter": [{ podRPFilter: 3 }, "spec.podRPFilter: Invalid value: 3: must be 0, 1, 2 or negative"],
  "coordinator-link-address": [
    { vethLinkAddress: "fd00::1" },
    "spec.vethLinkAddress: Invalid value: \"fd00::1\": invalid IP format in IPv4 'fd00::1': it is an IPv6 address",
  ],
  "coordinator-veth-mtu": [{ vethMTU: 0 }, "spec.vethMTU: Invalid value: 0: must be greater than 0"],
};

describe("the rules of coordinators", () => {
  for (const { id } of coordinatorRules) {
    test(`${id} refuses a coordinator that breaks it, with this violation only`, () => {
      const [wrong, said] = broken[id] ?? assert.fail(`no case for ${id}`);
      assert.deepEqual(validateCoordinator(coordinator(wrong)).map(formatViolation), [said]);
    });
  }

  test("a valid coordinator is admitted", () => {
    const good = coordinator({
      hijackCIDR: ["169.254.0.0/16", "10.0.0.1", "fd00::/8"],
      policyRoutes: [{ dst: "10.0.0.0/8", gw: "10.0.0.1" }],
      podMACPrefix: "0A:1b",
      podRPFilter: -1,
      vethLinkAddress: "169.254.100.1",
    });
    assert.deepEqual(validateCoordinator(good), []);
    assert.deepEqual(validateCoordinator(defaultCoordinator(good)), []);
  });

  test("an MTU that no link can have is refused", () => {
    const said = (vethMTU: number) => validateCoordinator(coordinator({ vethMTU })).map(formatViolation);
    assert.deepEqual(said(67), [
      "spec.vethMTU: Invalid value: 67: must be at least 68, the smallest MTU of a link; 1280 with IPv6",
    ]);
    assert.deepEqual(said(68), []);
  });

  test("the source of Pod CIDRs is required, unless the coordinator is terminating", () => {
    const silent = { metadata: meta("default"), spec: {} };
    assert.deepEqual(validateCoordinator(silent).map(formatViolation), [
      "spec.podCIDRType: Required value: must be specified",
    ]);
    const going = { ...silent, metadata: meta("default", { deletionTimestamp: "2026-01-01T00:00:00Z" }) };
    assert.deepEqual(validateCoordinator(going), []);
    assert.equal(defaultCoordinator(going), going);
  });
});

test("defaultCoordinator fills in the defaults and writes destinations as CIDRs, and is idempotent", () => {
  const filled = defaultCoordinator(
    coordinator({
      hijackCIDR: ["10.0.0.1", "fd00::1", "10.0.0.0/8"],
      policyRoutes: [
        { dst: "10.1.2.3/8", gw: "10.0.0.1" },
        { dst: "FD00::1", gw: "fd00::2" },
      ],
    }),
  );
  assert.deepEqual(filled.metadata.finalizers, [finalizer]);
  assert.deepEqual(filled.spec, {
    podCIDRType: "auto",
    mode: "auto",
    tunePodRoutes: true,
    hostRuleTable: 500,
    podRPFilter: 0,
    txQueueLen: 0,
    vethLinkAddress: "",
    vethMTU: 1500,
    hijackCIDR: ["10.0.0.1/32", "fd00::1/128", "10.0.0.0/8"],
    policyRoutes: [
      { dst: "10.0.0.0/8", gw: "10.0.0.1" },
      { dst: "fd00::1/128", gw: "fd00::2" },
    ],
  });
  assert.deepEqual(defaultCoordinator(filled), filled);
});
