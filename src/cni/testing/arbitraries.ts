import fc from "fast-check";
import { type Ip, ipFromValue } from "#ip";
import type { CniInterface, CniIp, CniResult, CniRoute } from "../types.ts";

const text = fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" });
const count = fc.integer({ min: 1, max: 2 ** 31 });

const ip: fc.Arbitrary<Ip> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value) => ipFromValue(4, value)),
  // The words of ::/16 are left out: text forms of mapped addresses are a subject of #ip.
  fc.bigInt({ min: 2n ** 112n, max: 2n ** 128n - 1n }).map((value) => ipFromValue(6, value)),
);
const prefix = ip.chain((address) =>
  fc.integer({ min: 0, max: address.family === 4 ? 32 : 128 }).map((bits) => ({ ip: address, bits })),
);

const cniInterface: fc.Arbitrary<CniInterface> = fc.record(
  { name: text, mac: text, mtuBytes: count, sandbox: text, socketPath: text, pciId: text },
  { requiredKeys: ["name"], noNullPrototype: true },
);
const cniIp: fc.Arbitrary<CniIp> = fc.record(
  { address: prefix, gateway: ip, interface: fc.nat(9) },
  { requiredKeys: ["address"], noNullPrototype: true },
);
const cniRoute: fc.Arbitrary<CniRoute> = fc.record(
  { dst: prefix, gw: ip, mtuBytes: count, advmss: count, priority: count, table: fc.nat(), scope: fc.nat(255) },
  { requiredKeys: ["dst"], noNullPrototype: true },
);
const texts = fc.array(text, { minLength: 1, maxLength: 3 });
const dns = fc
  .record(
    { nameservers: texts, domain: text, search: texts, options: texts },
    { requiredKeys: [], noNullPrototype: true },
  )
  .filter((one) => Object.keys(one).length > 0);

/** Any result that the current version of the specification can say. */
export const cniResult: fc.Arbitrary<CniResult> = fc.record(
  {
    interfaces: fc.array(cniInterface, { maxLength: 4 }),
    ips: fc.array(cniIp, { maxLength: 4 }),
    routes: fc.array(cniRoute, { maxLength: 4 }),
    dns,
  },
  { requiredKeys: ["interfaces", "ips", "routes"], noNullPrototype: true },
);
