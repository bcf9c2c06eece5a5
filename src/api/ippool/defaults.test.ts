import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatIp, formatIpSet, ipFromValue, parseIpSet } from "#ip";
import { finalizer } from "../group.ts";
import { labels } from "../labels.ts";
import { defaultReservedIp } from "../reservedip/defaults.ts";
import { AddressIndex } from "../rules/address-index.ts";
import { defaultSubnet } from "../subnet/defaults.ts";
import { meta, pool, subnet } from "../testing/objects.ts";
import { defaultPool } from "./defaults.ts";
import { validatePool } from "./rules.ts";

const bare = (spec: Parameters<typeof pool>[0] = {}) => {
  const { ipVersion: _, ...rest } = pool(spec).spec;
  return { metadata: { name: "ippool-test" }, spec: rest };
};

describe("defaultPool", () => {
  test("fills in finalizer, family and CIDR label", () => {
    const { metadata, spec } = defaultPool(bare());
    assert.deepEqual(metadata.finalizers, [finalizer]);
    assert.deepEqual(metadata.labels, { [labels.poolCidr]: "172-18-0-0-16" });
    assert.equal(spec.ipVersion, 4);
  });

  test("merges lists of several elements and leaves single elements unchanged", () => {
    const merged = (ips: readonly string[], subnet = "10.0.0.0/8") => defaultPool(bare({ subnet, ips })).spec.ips;
    assert.deepEqual(merged(["10.0.0.7", "10.0.0.5", "10.0.0.4"]), ["10.0.0.4-10.0.0.5", "10.0.0.7"]);
    assert.deepEqual(merged(["10.0.0.1-10.0.0.1", "10.0.0.9"]), ["10.0.0.1", "10.0.0.9"]);
    assert.deepEqual(merged(["10.0.0.1-10.0.0.1"]), ["10.0.0.1-10.0.0.1"]);
    assert.deepEqual(merged(["FD00::0001", "fd00::2"], "fd00::/64"), ["fd00::1-fd00::2"]);
  });

  test("leaves invalid values for validation to report", () => {
    const wrong = ["10.0.0.9-10.0.0.1", "10.0.0.3"];
    assert.deepEqual(defaultPool(bare({ subnet: "10.0.0.0/8", ips: wrong })).spec.ips, wrong);
    assert.equal(defaultPool(bare({ subnet: "x" })).spec.ipVersion, undefined);
  });

  test("is idempotent, and keeps the set of addresses of a valid pool", () => {
    const ip = fc.integer({ min: 0, max: 300 }).map((n) => formatIp(ipFromValue(4, 0x0a00_0000n + BigInt(n))));
    const element = fc.oneof(
      ip,
      fc
        .tuple(fc.nat(300), fc.nat(20))
        .map(([first, more]) =>
          [first, first + more].map((n) => formatIp(ipFromValue(4, 0x0a00_0000n + BigInt(n)))).join("-"),
        ),
    );
    fc.assert(
      fc.property(fc.array(element, { maxLength: 8 }), fc.array(element, { maxLength: 8 }), (ips, excludeIPs) => {
        const given = bare({ subnet: "10.0.0.0/8", gateway: "10.9.9.9", ips, excludeIPs });
        const once = defaultPool(given);
        assert.deepEqual(defaultPool(once), once);
        assert.deepEqual(validatePool(once), []);
        assert.deepEqual(formatIpSet(parseIpSet(once.spec.ips ?? [], 4)), formatIpSet(parseIpSet(ips, 4)));
      }),
    );
  });

  test("links a new pool to the subnet of its CIDR and inherits absent fields", () => {
    const routes = [{ dst: "10.0.0.0/8", gw: "172.18.0.2" }];
    const parent = subnet({ gateway: "172.18.0.1", routes });
    const { gateway: _, ...spec } = bare().spec;
    const linked = defaultPool(
      { ...bare(), spec },
      AddressIndex.of([subnet({ subnet: "10.0.0.0/8" }, { name: "wide" }), parent]),
    );
    assert.deepEqual(linked.metadata.ownerReferences, [
      {
        apiVersion: "spiderpool.spidernet.io/v2beta1",
        kind: "SpiderSubnet",
        name: "subnet-test",
        uid: "uid-of-subnet-test",
        controller: true,
        blockOwnerDeletion: true,
      },
    ]);
    assert.equal(linked.metadata.labels?.[labels.ownerSubnet], "subnet-test");
    assert.equal(linked.spec.gateway, "172.18.0.1");
    assert.deepEqual(linked.spec.routes, routes);
    // Later changes of the subnet are not inherited, nor is a field that the user cleared.
    const { gateway: __, ...cleared } = linked.spec;
    assert.equal(defaultPool({ ...linked, spec: cleared }, AddressIndex.of([parent])).spec.gateway, undefined);
    assert.deepEqual(defaultPool({ ...bare({ routes: [] }) }, AddressIndex.of([parent])).spec.routes, []);
  });

  test("touches neither a terminating pool nor one that another controller owns", () => {
    const terminating = pool({}, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    assert.equal(defaultPool(terminating, AddressIndex.of([subnet()])), terminating);
    const owner = { apiVersion: "v1", kind: "Other", name: "o", uid: "u", controller: true };
    const owned = defaultPool(pool({}, { ownerReferences: [owner] }), AddressIndex.of([subnet()]));
    assert.deepEqual(owned.metadata.ownerReferences, [owner]);
    assert.equal(owned.spec.ipVersion, 4);
  });
});

test("defaultSubnet fills in finalizer, family, label and normal lists", () => {
  const { ipVersion: _, ...spec } = subnet({ ips: ["172.18.0.2", "172.18.0.1"] }).spec;
  const { metadata, spec: filled } = defaultSubnet({ metadata: { name: "s" }, spec });
  assert.deepEqual(metadata, {
    name: "s",
    finalizers: [finalizer],
    labels: { [labels.subnetCidr]: "172-18-0-0-16" },
  });
  assert.deepEqual(filled, { ...spec, ipVersion: 4, ips: ["172.18.0.1-172.18.0.2"] });
});

test("defaultReservedIp takes the family of the first element", () => {
  const reserved = { metadata: meta("r"), spec: { ips: ["fd00::2-fd00::3", "fd00::1"] } };
  assert.deepEqual(defaultReservedIp(reserved).spec, { ipVersion: 6, ips: ["fd00::1-fd00::3"] });
  const wrong = { metadata: meta("r"), spec: { ips: ["x"] } };
  assert.equal(defaultReservedIp(wrong), wrong);
});
