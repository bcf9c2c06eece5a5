import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatIpSet, parseIp } from "#ip";
import { finalizer } from "../group.ts";
import { labels } from "../labels.ts";
import { AddressIndex } from "../rules/address-index.ts";
import { warnOfAddresses } from "../rules/addresses.ts";
import { formatViolation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import { pool, subnet } from "../testing/objects.ts";
import { type PoolContext, poolRules, removedAddresses, validatePool } from "./rules.ts";
import type { SpiderIPPool } from "./types.ts";

const auto = { labels: { [labels.ownerApplicationName]: "web" } };
const other = (spec: Parameters<typeof pool>[0]) =>
  AddressIndex.of([pool({ gateway: "", ...spec }, { name: "other" })]);
const jointly = "total IP addresses of an IPPool are jointly determined by 'spec.ips' and 'spec.excludeIPs'";

/** For each rule a pool that breaks it, and all violations of that pool. */
const broken: Readonly<Record<string, readonly [Submitted<SpiderIPPool>, PoolContext, ...string[]]>> = {
  "version-known": [
    pool({ ipVersion: 5 as never }),
    {},
    'spec.ipVersion: Unsupported value: 5: supported values: "4", "6"',
  ],
  "version-enabled": [
    pool(),
    { families: { enableIPv4: false, enableIPv6: true } },
    "spec.ipVersion: Forbidden: IPv4 is disabled",
  ],
  "version-immutable": [
    pool({ ipVersion: 6, subnet: "fd00::/64", ips: [], gateway: "" }),
    { old: pool({ subnet: "fd00::/64", ips: [], gateway: "" }) },
    "spec.ipVersion: Forbidden: is not changeable",
  ],
  "subnet-immutable": [pool({ subnet: "172.18.0.0/17" }), { old: pool() }, "spec.subnet: Forbidden: is not changeable"],
  "subnet-cidr": [
    pool({ subnet: "172.18.0.0" }),
    {},
    "spec.subnet: Invalid value: \"172.18.0.0\": invalid CIDR format in IPv4 '172.18.0.0': want an address, '/' and a prefix length",
  ],
  "subnet-canonical": [
    pool({ subnet: "172.18.0.1/16" }),
    {},
    'spec.subnet: Invalid value: "172.18.0.1/16": unformatted subnet 172.18.0.1/16, please change it to 172.18.0.0/16',
  ],
  "ips-valid": [
    pool({ ips: ["172.18.0.9-172.18.0.2", "10.0.0.1", "172.18.0.0/24"] }),
    {},
    "spec.ips[0]: Invalid value: \"172.18.0.9-172.18.0.2\": invalid IP range format in IPv4 '172.18.0.9-172.18.0.2': its first address is above its last",
    'spec.ips[1]: Invalid value: "10.0.0.1": not match base subnet: 172.18.0.0/16',
    "spec.ips[2]: Invalid value: \"172.18.0.0/24\": invalid IP range format in IPv4 '172.18.0.0/24': a CIDR is not accepted here, write first-last",
  ],
  "exclude-ips-valid": [
    pool({ excludeIPs: ["fd00::1"] }),
    {},
    "spec.excludeIPs[0]: Invalid value: \"fd00::1\": invalid IP format in IPv4 'fd00::1': it is an IPv6 address",
  ],
  "gateway-is-host": [
    pool({ gateway: "172.18.255.255", routes: [{ dst: "10.0.0.0/8", gw: "172.18.255.255" }] }),
    {},
    "spec.gateway: Invalid value: \"172.18.255.255\": is the broadcast address of 'spec.subnet' 172.18.0.0/16: no host has it",
    "spec.routes[0].gw: Invalid value: \"172.18.255.255\": is the broadcast address of 'spec.subnet' 172.18.0.0/16: no host has it",
  ],
  "ips-of-hosts": [
    pool({ subnet: "0.0.0.0/0", ips: ["0.255.255.255-1.0.0.3", "127.0.0.9", "224.0.0.5"], gateway: "1.0.0.9" }),
    {},
    'spec.ips: Invalid value: ["0.255.255.255-1.0.0.3","127.0.0.9","224.0.0.5"]: no host can have [0.255.255.255 127.0.0.9 224.0.0.5]: no Pod could use such an address',
  ],
  "gateway-inside": [
    pool({ gateway: "172.19.0.1" }),
    {},
    "spec.gateway: Invalid value: \"172.19.0.1\": not pertains to the 'spec.subnet' 172.18.0.0/16 of IPPool",
  ],
  "gateway-not-handed-out": [
    pool({ gateway: "172.18.30.131" }),
    {},
    "spec.ips[0]: Invalid value: \"172.18.30.131-172.18.30.140\": conflicts with 'spec.gateway' 172.18.30.131, add the gateway IP address to 'spec.excludeIPs' or remove it from 'spec.ips'",
  ],
  "routes-not-default": [
    pool({ routes: [{ dst: "0.0.0.0/0", gw: "172.18.0.2" }] }),
    {},
    "spec.routes[0].dst: Invalid value: \"0.0.0.0/0\": please specify 'spec.gateway' to configure the default route",
  ],
  "routes-distinct": [
    pool({
      routes: [
        { dst: "10.0.0.0/8", gw: "172.18.0.2" },
        { dst: "10.0.0.1/8", gw: "172.18.0.3" },
      ],
    }),
    {},
    'spec.routes[1].dst: Invalid value: "10.0.0.1/8": duplicate route with the same dst',
  ],
  "routes-dst": [
    pool({ routes: [{ dst: "10.0.0.1", gw: "172.18.0.2" }] }),
    {},
    "spec.routes[0].dst: Invalid value: \"10.0.0.1\": invalid CIDR format in IPv4 '10.0.0.1': want an address, '/' and a prefix length",
  ],
  "routes-gw": [
    pool({ routes: [{ dst: "10.0.0.0/8", gw: "10.0.0.1" }] }),
    {},
    "spec.routes[0].gw: Invalid value: \"10.0.0.1\": not pertains to the 'spec.subnet' 172.18.0.0/16 of IPPool",
  ],
  "pool-subnets-apart": [
    pool(),
    { others: other({ subnet: "172.18.30.0/24", ips: [] }) },
    "spec.subnet: Invalid value: \"172.18.0.0/16\": overlap with IPPool other which 'spec.subnet' is 172.18.30.0/24",
  ],
  "pool-ranges-apart": [
    pool(),
    { others: other({ ips: ["172.18.30.1-172.18.30.132", "172.18.30.140"], excludeIPs: ["172.18.30.131"] }) },
    `spec.ips: Forbidden: overlap with IPPool other in IP ranges [172.18.30.132 172.18.30.140], ${jointly}`,
  ],
  "pool-affinity": [
    pool({ podAffinity: {} }),
    {},
    "spec.podAffinity: Invalid value: {}: empty podAffinity is invalid for SpiderIPPool",
  ],
  "node-affinity": [
    pool({ nodeAffinity: { matchExpressions: [{ key: "zone", operator: "Is", values: ["a"] }] } }),
    {},
    'spec.nodeAffinity.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
  ],
  "namespace-affinity": [
    pool({ namespaceAffinity: { matchExpressions: [{ key: "team", operator: "In" }] } }),
    {},
    "spec.namespaceAffinity.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
  ],
  "cool-down": [
    pool({ coolDown: 90_000 }),
    {},
    "spec.coolDown: Invalid value: 90000: must be a whole number of seconds, 0 to 86400",
  ],
  "pool-in-use": [
    pool({ excludeIPs: ["172.18.30.135"] }),
    { old: pool(), inUse: [{ ip: parseIp("172.18.30.135"), pod: "default/web-0" }] },
    `spec.ips: Forbidden: remove an IP address 172.18.30.135 that is being used by Pod default/web-0, ${jointly}`,
  ],
  "pool-apart-from-planned": [
    pool({ ips: ["172.18.30.131-172.18.30.140"] }),
    {
      subnet: {
        ...subnet(),
        status: {
          controlledIPPools: '{"auto4-web-eth0-9a2b3":{"ips":["172.18.30.140-172.18.30.142"],"application":"a"}}',
        },
      },
    },
    `spec.ips: Forbidden: overlap with IPPool auto4-web-eth0-9a2b3 in IP ranges [172.18.30.140] that Subnet subnet-test gave to it, ${jointly}`,
  ],
  "pool-inside-controller": [
    pool({ ips: ["172.18.30.250-172.18.31.3"] }),
    { subnet: subnet() },
    `spec.ips: Forbidden: add some IP ranges [172.18.30.255-172.18.31.3] that are not contained in controller Subnet subnet-test, ${jointly}. What to do: add these to spec.ips of SpiderSubnet subnet-test first, which has every pool of its network`,
  ],
};

describe("the rules of pools", () => {
  for (const { id } of poolRules) {
    test(`${id} refuses a pool that breaks it, with these violations only`, () => {
      const [wrong, context, ...said] = broken[id] ?? assert.fail(`no case for ${id}`);
      assert.deepEqual(validatePool(wrong, context).map(formatViolation), said);
    });
  }

  test("a valid pool is admitted in every context", () => {
    const context: PoolContext = {
      others: AddressIndex.of([
        pool(),
        pool({ ips: ["172.18.30.141"] }, { name: "beside" }),
        pool({ subnet: "10.0.0.0/8", ips: ["10.0.0.1"] }, { name: "elsewhere" }),
      ]),
      subnet: subnet(),
      inUse: [{ ip: parseIp("172.18.30.135"), pod: "default/web-0" }],
    };
    assert.deepEqual(validatePool(pool(), context), []);
    assert.deepEqual(validatePool(pool({ ips: ["172.18.30.130-172.18.30.140"] }), { ...context, old: pool() }), []);
  });

  test("a gateway among the addresses is admitted if it is excluded, in any spelling", () => {
    const spec = { ipVersion: 6, subnet: "fd00::/64", ips: ["fd00::1-fd00::9"], gateway: "fd00::1" } as const;
    assert.equal(validatePool(pool(spec)).length, 1);
    assert.deepEqual(validatePool(pool({ ...spec, excludeIPs: ["FD00:0::1"] })), []);
  });

  test("a missing family is reported with the field that it would come from", () => {
    const { ipVersion: _, ...spec } = pool({ subnet: "nonsense" }).spec;
    const [first] = validatePool({ ...pool(), spec });
    assert.equal(
      first && formatViolation(first),
      "spec.ipVersion: Invalid value: null: is not generated correctly, 'spec.subnet' may be invalid",
    );
  });

  test("an application's pool has exactly its five keys, and only addresses that its subnet gave it", () => {
    const foreign = { matchLabels: { app: "web" }, matchExpressions: [{ key: "app", operator: "Exists" }] };
    assert.deepEqual(
      validatePool(pool({ podAffinity: foreign }, auto)).map(({ field }) => field),
      ["spec.podAffinity.matchLabels", "spec.podAffinity.matchExpressions"],
    );
    const podAffinity = { matchLabels: { [labels.appName]: "web" } };
    const given = (ips: string) => ({
      ...subnet(),
      status: {
        controlledIPPools: JSON.stringify({ "ippool-test": { ips: [ips], application: "apps_v1_Deployment_d_web" } }),
      },
    });
    const edited = pool({ podAffinity, ips: ["172.18.30.1-172.18.30.9"] }, auto);
    assert.deepEqual(validatePool(edited, { subnet: given("172.18.30.1-172.18.30.9") }), []);
    assert.match(
      validatePool(edited, { subnet: given("172.18.30.1-172.18.30.8") })
        .map(formatViolation)
        .join(),
      /^spec\.ips: Forbidden: it's illegal to update AutoPool\.Spec\.IPs/,
    );
  });

  test("a link of two hosts has no broadcast address", () => {
    const link = { subnet: "10.0.0.0/31", ips: ["10.0.0.0"], gateway: "10.0.0.1", routes: [] };
    assert.deepEqual(validatePool(pool(link), {}), []);
  });

  test("of addresses that no host can have, those that a stored pool has do not hinder its changes", () => {
    const of = (ips: readonly string[]) => pool({ ipVersion: 6, subnet: "ff00::/8", ips, gateway: "" });
    assert.deepEqual(validatePool(of(["ff00::1"]), { old: of(["ff00::1-ff00::2"]) }), []);
    assert.match(
      validatePool(of(["ff00::1-ff00::3"]), { old: of(["ff00::1-ff00::2"]) })
        .map(formatViolation)
        .join(),
      /no host can have \[ff00::3\]/,
    );
  });

  test("addresses with which Pods would not be reached are warned of, and only these", () => {
    const warned = (subnet: string, ...ips: readonly string[]) =>
      warnOfAddresses({ ipVersion: subnet.includes(":") ? 6 : 4, subnet, ips });
    assert.deepEqual(warned("10.0.0.0/24", "10.0.0.1-10.0.0.254"), []);
    assert.deepEqual(warned("10.0.0.0/31", "10.0.0.0-10.0.0.1"), []);
    assert.deepEqual(warned("fd00::/64", "fd00::-fd00::ffff"), []);
    assert.deepEqual(warned("10.0.0.0/24", "wrong"), []);
    const why = "other hosts do not send to it; add it to spec.excludeIPs";
    assert.deepEqual(warned("10.0.0.0/24", "10.0.0.0-10.0.0.255"), [
      `spec.ips: 10.0.0.0 is the network address of spec.subnet 10.0.0.0/24: ${why}`,
      `spec.ips: 10.0.0.255 is the broadcast address of spec.subnet 10.0.0.0/24: ${why}`,
    ]);
    const fate = "no Service reaches a Pod with such an address, and no router forwards for it";
    assert.deepEqual(warned("fe80::/64", "fe80::1-fe80::9"), [`spec.ips: [fe80::1-fe80::9] are link-local: ${fate}`]);
    assert.deepEqual(warned("169.254.0.0/16", "169.254.7.7"), [`spec.ips: [169.254.7.7] are link-local: ${fate}`]);
  });

  test("a terminating pool may not change its spec, but may always lose its finalizer", () => {
    const old = pool({}, { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [finalizer] });
    assert.deepEqual(validatePool({ ...old, spec: { ...old.spec, disable: true } }, { old }).map(formatViolation), [
      "spec: Forbidden: cannot update a terminating IPPool",
    ]);
    assert.deepEqual(validatePool({ ...old, metadata: { ...old.metadata, finalizers: [] } }, { old }), []);
  });

  test("labels and finalizers of a stored invalid pool can be changed", () => {
    const old = pool({ ips: ["172.18.0.9-172.18.0.2"] });
    assert.deepEqual(validatePool({ ...old, metadata: { ...old.metadata, labels: { a: "b" } } }, { old }), []);
  });

  test("removedAddresses() gives the old pool's addresses that the new one lacks", () => {
    const gone = removedAddresses(
      pool(),
      pool({ ips: ["172.18.30.133-172.18.30.150"], excludeIPs: ["172.18.30.135"] }),
    );
    assert.deepEqual(formatIpSet(gone), ["172.18.30.131-172.18.30.132", "172.18.30.135"]);
  });
});
