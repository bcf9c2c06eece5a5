import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatViolation } from "../rules/violation.ts";
import { meta } from "../testing/objects.ts";
import { reservedIpRules, validateReservedIp } from "./rules.ts";
import type { SpiderReservedIP, SpiderReservedIPSpec } from "./types.ts";

const reserved = (spec: SpiderReservedIPSpec, deletionTimestamp?: string): SpiderReservedIP => ({
  metadata: meta("r", deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  spec,
});
const good = reserved({ ipVersion: 4, ips: ["10.0.0.1", "10.0.0.5-10.0.0.9"] });

const broken: Readonly<Record<string, readonly [SpiderReservedIP, Parameters<typeof validateReservedIp>[1], string]>> =
  {
    "reserved-version-known": [
      reserved({ ips: ["x"] }),
      {},
      "spec.ipVersion: Invalid value: null: is not generated correctly, 'spec.ips' is empty or 'spec.ips[0]' may be invalid",
    ],
    "reserved-version-enabled": [
      good,
      { families: { enableIPv4: false, enableIPv6: true } },
      "spec.ipVersion: Forbidden: IPv4 is disabled",
    ],
    "reserved-version-immutable": [
      good,
      { old: reserved({ ipVersion: 6, ips: [] }) },
      "spec.ipVersion: Forbidden: is not changeable",
    ],
    "reserved-ips-valid": [
      reserved({ ipVersion: 4, ips: ["10.0.0.1", "fd00::1"] }),
      {},
      "spec.ips[1]: Invalid value: \"fd00::1\": invalid IP format in IPv4 'fd00::1': it is an IPv6 address",
    ],
  };

describe("the rules of reserved addresses", () => {
  for (const { id } of reservedIpRules) {
    test(`${id} refuses an object that breaks it, with these violations only`, () => {
      const [wrong, context, said] = broken[id] ?? assert.fail(`no case for ${id}`);
      assert.deepEqual(validateReservedIp(wrong, context).map(formatViolation), [said]);
    });
  }

  test("valid ones are admitted, also with a family and no address", () => {
    assert.deepEqual(validateReservedIp(good), []);
    assert.deepEqual(validateReservedIp(reserved({ ipVersion: 6 })), []);
  });

  test("a family that does not exist is reported once", () => {
    const wrong = reserved({ ipVersion: 5 as never, ips: [] });
    assert.deepEqual(validateReservedIp(wrong).map(formatViolation), [
      'spec.ipVersion: Unsupported value: 5: supported values: "4", "6"',
    ]);
  });

  test("a terminating object may not change its spec", () => {
    const old = reserved(good.spec, "2026-01-01T00:00:00Z");
    assert.deepEqual(validateReservedIp(old, { old }), []);
    assert.deepEqual(validateReservedIp({ ...old, spec: { ipVersion: 4, ips: [] } }, { old }).map(formatViolation), [
      "spec: Forbidden: cannot update a terminating ReservedIP",
    ]);
  });
});
