import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatExhausted, formatShortage } from "./exhausted.ts";
import { poolView } from "./pool.ts";

function pool(name: string, ips: readonly string[] = ["10.6.0.1-10.6.0.10"]) {
  return poolView({ metadata: { name }, spec: { subnet: "10.6.0.0/16", ips } });
}

const show = "spiderpoolctl ip show --pool a";

describe("formatExhausted()", () => {
  it("names the pools tried, how full each is, and what to do", () => {
    const { message, fix } = formatExhausted("eth0", 4, [
      { pool: pool("a"), allowed: 10n },
      { pool: pool("b", []), allowed: 0n },
    ]);
    assert.equal(
      message,
      "failed to allocate any IPv4 IP address to NIC eth0 from IPPools [a b]: all IP addresses used out: " +
        "all 10 addresses of IPPool a are in use; IPPool b has no address to hand out",
    );
    assert.equal(
      fix,
      `add addresses to spec.ips of IPPool a, name a further IPPool in the Pod's annotation, or free addresses of it: ${show} says who has them`,
    );
  });

  it("asks for more by the annotation that an application's pool follows, because its addresses cannot be edited", () => {
    const auto = { ...pool("a"), auto: true };
    assert.match(
      formatExhausted("eth0", 4, [{ pool: auto, allowed: 10n }]).fix,
      /^ask for more in the Pod template's annotation 'ipam.spidernet.io\/ippool-ip-number': IPPool a is its .*, or free/,
    );
    const { fix } = formatExhausted("eth0", 4, [{ pool: { ...pool("a", []), auto: true }, allowed: 0n }]);
    assert.match(fix, /^ask for more [^,]*, and its spec.ips follow that alone$/);
  });

  it("stays short for hundreds of pools", () => {
    const tried = Array.from({ length: 300 }, (_, at) => ({ pool: pool(`p${at}`), allowed: 10n }));
    assert.ok(formatExhausted("eth0", 6, tried).message.length < 700);
  });

  it("does not ask to free addresses that no Pod has", () => {
    const aside = { quarantined: 10, held: 0 };
    assert.match(
      formatExhausted("eth0", 4, [{ pool: pool("a"), allowed: 10n, aside }]).fix,
      /annotation, or see why its addresses are in quarantine: spiderpoolctl ip show --pool a$/,
    );
    assert.match(
      formatExhausted("eth0", 4, [{ pool: pool("a"), allowed: 0n }]).fix,
      /annotation, or take addresses out of the SpiderReservedIPs$/,
    );
  });
});

describe("formatShortage()", () => {
  const until = "2026-11-27T12:00:00Z";
  const of = (allowed: bigint, aside?: Parameters<typeof formatShortage>[0]["aside"]) =>
    formatShortage({ pool: pool("a"), allowed, aside });

  it("tells addresses in use, in quarantine, held and reserved apart", () => {
    assert.equal(
      of(7n, { quarantined: 2, quarantinedUntil: until, held: 1 }),
      `all 7 addresses of IPPool a are taken: 4 in use, 2 in quarantine (the first until ${until}), 1 held (3 more reserved)`,
    );
    assert.equal(
      of(10n, { quarantined: 1, quarantinedUntil: until, held: 0 }),
      `all 10 addresses of IPPool a are taken: 9 in use, 1 in quarantine until ${until}`,
    );
    assert.equal(of(10n, { quarantined: 10, held: 0 }), "all 10 addresses of IPPool a are taken: 10 in quarantine");
    assert.equal(of(4n), "all 4 addresses of IPPool a are in use (6 more reserved)");
    assert.equal(of(0n), "IPPool a has no address to hand out (10 reserved)");
  });

  it("never counts more than there are, as what is set aside may be known of an earlier time", () => {
    assert.equal(
      of(3n, { quarantined: 2, held: 9 }),
      "all 3 addresses of IPPool a are taken: 2 in quarantine, 1 held (7 more reserved)",
    );
  });
});
