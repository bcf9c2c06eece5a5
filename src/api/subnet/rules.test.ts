import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { finalizer } from "../group.ts";
import { AddressIndex } from "../rules/address-index.ts";
import { addressRules } from "../rules/addresses.ts";
import { formatViolation } from "../rules/violation.ts";
import { pool, subnet } from "../testing/objects.ts";
import { parseControlledIPPools } from "./controlled.ts";
import { type SubnetContext, subnetRules, validateSubnet } from "./rules.ts";
import type { SpiderSubnet } from "./types.ts";

const stored: SpiderSubnet = {
  ...subnet(),
  status: { controlledIPPools: '{"p":{"ips":["172.18.30.1-172.18.30.9"]}}' },
};

/** For each rule that pools do not have: a subnet that breaks it, and all violations of that subnet. */
const broken: Readonly<Record<string, readonly [SpiderSubnet, SubnetContext, ...string[]]>> = {
  "subnets-apart": [
    subnet(),
    { others: AddressIndex.of([subnet({}, { name: "other" })]) },
    "spec.subnet: Invalid value: \"172.18.0.0/16\": overlap with Subnet other which 'spec.subnet' is 172.18.0.0/16",
  ],
  "subnet-pools-apart": [
    subnet(),
    { pools: AddressIndex.of([pool({ subnet: "172.18.30.0/24" })]) },
    "spec.subnet: Invalid value: \"172.18.0.0/16\": overlap with SpiderIPPool 'ippool-test' resource 'spec.subnet' 172.18.30.0/24",
  ],
  "subnet-holds-pools": [
    subnet({ ips: ["172.18.30.132-172.18.30.254"] }),
    { pools: AddressIndex.of([pool()]) },
    "spec.ips: Invalid value: [\"172.18.30.132-172.18.30.254\"]: SpiderIPPool 'ippool-test' owns some IP addresses that SpiderSubnet 'subnet-test' can't control: [172.18.30.131]. What to do: add these to spec.ips of the subnet, or delete the pool",
  ],
  "subnet-in-use": [
    subnet({ excludeIPs: ["172.18.30.9"] }),
    { old: stored },
    "spec.ips: Forbidden: remove some IP ranges [172.18.30.9] that is being used by IPPool p, total IP addresses of a Subnet are jointly determined by 'spec.ips' and 'spec.excludeIPs'",
  ],
};

describe("the rules of subnets", () => {
  for (const { id } of subnetRules.filter((rule) => !addressRules.includes(rule))) {
    test(`${id} refuses a subnet that breaks it, with these violations only`, () => {
      const [wrong, context, ...said] = broken[id] ?? assert.fail(`no case for ${id}`);
      assert.deepEqual(validateSubnet(wrong, context).map(formatViolation), said);
    });
  }

  test("rules shared with pools name the subnet in their messages", () => {
    assert.deepEqual(validateSubnet(subnet({ gateway: "10.0.0.1" })).map(formatViolation), [
      "spec.gateway: Invalid value: \"10.0.0.1\": not pertains to the 'spec.subnet' 172.18.0.0/16 of Subnet",
    ]);
  });

  test("a selector of namespaces that is none is refused", () => {
    const namespaceAffinity = { matchExpressions: [{ key: "team", operator: "Is", values: ["a"] }] };
    assert.deepEqual(validateSubnet(subnet({ namespaceAffinity })).map(formatViolation), [
      'spec.namespaceAffinity.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
    ]);
  });

  test("a valid subnet is admitted beside others, with the pools of its CIDR", () => {
    const context = {
      others: AddressIndex.of([subnet(), subnet({ subnet: "10.0.0.0/8" }, { name: "other" })]),
      pools: AddressIndex.of([pool()]),
    };
    assert.deepEqual(validateSubnet(subnet(), context), []);
    assert.deepEqual(validateSubnet(subnet({ excludeIPs: ["172.18.30.10"] }), { ...context, old: stored }), []);
  });

  test("an update may not remove addresses of a pool that the status does not list yet", () => {
    const context = {
      old: subnet(),
      pools: AddressIndex.of([pool({}, { name: "new" }), pool({ subnet: "10.0.0.0/8" })]),
    };
    const [lost, ...more] = validateSubnet(subnet({ excludeIPs: ["172.18.30.131"] }), context).map(formatViolation);
    assert.match(lost ?? "", /^spec\.ips: Forbidden: remove some IP ranges \[172\.18\.30\.131\] .* by IPPool new, /);
    assert.deepEqual(more, []);
    const never = subnet({ ips: ["172.18.30.132-172.18.30.254"] });
    const shrunk = subnet({ ips: ["172.18.30.132-172.18.30.254"], gateway: "172.18.0.9" });
    assert.deepEqual(validateSubnet(shrunk, { ...context, old: never }), [], "it has never had that address");
  });

  test("a terminating subnet may not change its spec", () => {
    const old = subnet({}, { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [finalizer] });
    const edited = { ...old, spec: { ...old.spec, ips: [] } };
    assert.deepEqual(validateSubnet(edited, { old }).map(formatViolation), [
      "spec: Forbidden: cannot update a terminating Subnet",
    ]);
    assert.deepEqual(validateSubnet(old, { old }), []);
  });
});

test("controlledIPPools decode to undefined if they are not in our format, and to none if absent", () => {
  assert.deepEqual(parseControlledIPPools(), {});
  assert.deepEqual(parseControlledIPPools('{"p":{"ips":["10.0.0.1"],"application":"a"}}'), {
    p: { ips: ["10.0.0.1"], application: "a" },
  });
  assert.equal(parseControlledIPPools("{"), undefined);
  assert.equal(parseControlledIPPools('{"p":{"ips":"10.0.0.1"}}'), undefined);
});
