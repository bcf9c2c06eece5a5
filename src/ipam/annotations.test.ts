import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasCode } from "#base";
import { formatIp, formatPrefix } from "#ip";
import type { Annotations } from "./annotation-json.ts";
import {
  annotationKeys,
  parseIppoolAnnotation,
  parseIppoolsAnnotation,
  parseNamespaceDefaults,
  parseRoutesAnnotation,
} from "./annotations.ts";
import { parseSubnetAnnotations, subnetAnnotationKeys } from "./subnet-annotations.ts";

/** Every refusal names the key, the value (cut) and what is allowed. */
function refused(parse: (annotations: Annotations) => unknown, key: string, value: string, reason: RegExp): void {
  assert.throws(
    () => parse({ [key]: value }),
    (error) => {
      assert.ok(hasCode(error, "WRONG_INPUT"), String(error));
      assert.ok(error.message.startsWith("wrong input, invalid format of "), error.message);
      assert.ok(error.message.includes(`annotation '${key}'`), error.message);
      assert.ok(error.message.length < 500, `${error.message.length}`);
      assert.match(error.message, reason);
      assert.match(String(error.details["fix"]), /^write it like ./);
      return true;
    },
  );
}

describe("parseIppoolAnnotation()", () => {
  it("reads both lists, keys in any case, null and absent as empty, unknown keys as nothing", () => {
    const parse = (text: string) => parseIppoolAnnotation({ [annotationKeys.ippool]: text });
    assert.deepEqual(parse('{"ipv4":["a","b*"],"ipv6":["c"]}'), { 4: ["a", "b*"], 6: ["c"] });
    assert.deepEqual(parse('{"IPv4":["a"],"ipv6":null,"x":1}'), { 4: ["a"], 6: [] });
    assert.deepEqual(parse("{}"), { 4: [], 6: [] });
    assert.deepEqual(parse("null"), { 4: [], 6: [] });
    assert.equal(parseIppoolAnnotation({}), undefined);
  });

  it("refuses everything else, in one clear sentence each", () => {
    const table: readonly [string, RegExp][] = [
      ["", /it is not JSON/],
      ["pool-a", /it is not JSON/],
      ['["pool-a"]', /value must be an object, found \["pool-a"\]/],
      ['{"ipv4":"pool-a"}', /value\.ipv4 must be a list, found "pool-a"/],
      ['{"ipv4":[1]}', /value\.ipv4\[0\] must be a string, found 1/],
      [`{"ipv4":["${"a".repeat(20_000)}"]}`, /value\.ipv4\[0\] must have at most 253 characters, .* found 20000: "a+…/],
      ['{"ipv4":["a\\u001b[31m"]}', /none of them a control character, found 6: "a\\u001b\[31m"/],
      ['{"ipv4":["a\u202e"]}', /none of them a control character, found 2: "a\\u202e"; its value is '[^\u202e]*'/],
      ["\u001b[31m", /it is not JSON; its value is '\\u001b\[31m'/],
      [`{"ipv4":["${"a".repeat(1_000_000)}"]}`, /it is 1000013 characters long, at most 65536/],
      [`{"ipv4":${"[".repeat(30_000)}${"]".repeat(30_000)}}`, /nested more than 8 deep/],
    ];
    for (const [value, reason] of table) refused(parseIppoolAnnotation, annotationKeys.ippool, value, reason);
  });
});

describe("parseIppoolsAnnotation()", () => {
  it("reads the named and the un-named form", () => {
    const parse = (text: string) => parseIppoolsAnnotation({ [annotationKeys.ippools]: text });
    assert.deepEqual(
      parse('[{"interface":"eth0","ipv4":["a"],"cleanGateway":true},{"interface":"net1","ipv6":["b"]}]'),
      [
        { nic: "eth0", pools: { 4: ["a"], 6: [] }, cleanGateway: true },
        { nic: "net1", pools: { 4: [], 6: ["b"] }, cleanGateway: false },
      ],
    );
    assert.deepEqual(
      parse('[{"ipv4":["a"]},{"interface":"","ipv4":["b"]}]')?.map(({ nic }) => nic),
      [undefined, undefined],
    );
    assert.equal(parseIppoolsAnnotation({}), undefined);
  });

  it("refuses an empty list, mixed naming and an interface named twice", () => {
    const table: readonly [string, RegExp][] = [
      ["[]", /value requires at least one item/],
      ["null", /value requires at least one item/],
      ['[{"interface":"eth0"},{}]', /NIC should be either all specified or all unspecified/],
      ['[{"interface":"eth0"},{"interface":"eth0"}]', /duplicate interface eth0/],
      ['{"interface":"eth0"}', /value must be a list/],
      ['[{"interface":1}]', /\[0\]\.interface must be a string/],
      ['[{"interface":"eth0","cleangateway":"yes"}]', /\[0\]\.cleangateway must be true or false, found "yes"/],
    ];
    for (const [value, reason] of table) refused(parseIppoolsAnnotation, annotationKeys.ippools, value, reason);
  });
});

describe("parseNamespaceDefaults()", () => {
  it("reads one list for each family", () => {
    assert.deepEqual(parseNamespaceDefaults({ [annotationKeys.defaultIpv4]: '["a","b"]' }), { 4: ["a", "b"], 6: [] });
    assert.deepEqual(parseNamespaceDefaults({}), { 4: [], 6: [] });
    refused(
      parseNamespaceDefaults,
      annotationKeys.defaultIpv6,
      '{"a":1}',
      /of Namespace annotation .* value must be a list/,
    );
  });
});

describe("parseRoutesAnnotation()", () => {
  it("reads pairs of one family, whatever the host bits, and refuses others", () => {
    const key = annotationKeys.routes;
    const routes = parseRoutesAnnotation({
      [key]: '[{"dst":"10.0.0.9/16","gw":"192.168.1.1"},{"dst":"::/0","gw":"fd00::1"}]',
    });
    assert.deepEqual(
      routes.map(({ dst, gw }) => [formatPrefix(dst), formatIp(gw)]),
      [
        ["10.0.0.0/16", "192.168.1.1"],
        ["::/0", "fd00::1"],
      ],
    );
    assert.deepEqual(parseRoutesAnnotation({}), []);
    refused(
      parseRoutesAnnotation,
      key,
      '[{"dst":"10.0.0.0/16","gw":"fd00::1"}]',
      /invalid route format in \[0\].*it is an IPv6 address/,
    );
    refused(parseRoutesAnnotation, key, '[{"dst":"10.0.0.1","gw":"10.0.0.1"}]', /invalid CIDR format '10\.0\.0\.1'/);
    refused(parseRoutesAnnotation, key, '[{"gw":"10.0.0.1"}]', /invalid CIDR format ''/);
  });
});

describe("parseSubnetAnnotations()", () => {
  const { subnet, subnets, ipNumber, reclaim } = subnetAnnotationKeys;

  it("takes the first name of each list, `subnets` before `subnet`", () => {
    assert.deepEqual(parseSubnetAnnotations({ [subnet]: '{"ipv4":["s4","ignored"],"ipv6":["s6"]}' }), {
      nics: [{ nic: "eth0", 4: "s4", 6: "s6" }],
      ipNumber: undefined,
      reclaim: true,
    });
    const both = {
      [subnet]: "bad",
      [subnets]: '[{"interface":"net1","ipv4":["s4"]}]',
      [ipNumber]: "+2",
      [reclaim]: "F",
    };
    assert.deepEqual(parseSubnetAnnotations(both), {
      nics: [{ nic: "net1", 4: "s4", 6: undefined }],
      ipNumber: { flexible: true, count: 2 },
      reclaim: false,
    });
    assert.equal(parseSubnetAnnotations({ [ipNumber]: "bad" }), undefined);
  });

  it("refuses what it can't follow", () => {
    refused(parseSubnetAnnotations, subnet, '{"ipv4":[""]}', /value\.ipv4\[0\] is an empty name/);
    refused(parseSubnetAnnotations, subnet, "{}", /names no subnet of either family/);
    refused(parseSubnetAnnotations, subnets, "[]", /requires at least one item/);
    const item = (nic: string, name: string) => `{"interface":"${nic}","ipv4":["${name}"]}`;
    refused(parseSubnetAnnotations, subnets, `[${item("eth0", "a")},${item("eth0", "b")}]`, /duplicate interface eth0/);
    refused(
      parseSubnetAnnotations,
      subnets,
      `[${item("eth0", "a")},${item("net1", "a")}]`,
      /subnet a is used by both eth0 and net1/,
    );
    const withSubnet = (annotations: Annotations) =>
      parseSubnetAnnotations({ [subnet]: '{"ipv4":["s"]}', ...annotations });
    assert.deepEqual(withSubnet({ [ipNumber]: "3" })?.ipNumber, { flexible: false, count: 3 });
    for (const text of ["", "++1", "1 ", "a", "3+5", "1.5"]) refused(withSubnet, ipNumber, text, /invalid input/);
    refused(withSubnet, ipNumber, "-1", /value must equal or greater than 0/);
    refused(withSubnet, reclaim, "maybe", /neither true nor false/);
  });
});
