import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatExhausted } from "./exhausted.ts";
import { poolView } from "./pool.ts";

function pool(name: string) {
  return poolView({ metadata: { name }, spec: { subnet: "10.6.0.0/16" } });
}

describe("formatExhausted()", () => {
  it("names the pools tried, how full each is, and what to do", () => {
    const full = { allowed: 10n, freeByUsage: 3n, own: 1n, met: 2n };
    const empty = { allowed: 0n, freeByUsage: 0n, own: 0n, met: 0n };
    const tried = [
      { pool: pool("a"), evidence: full },
      { pool: pool("b"), evidence: empty },
    ];
    const { message, fix } = formatExhausted("eth0", 4, tried);
    assert.equal(
      message,
      "failed to allocate any IPv4 IP address to NIC eth0 from IPPools [a b]: all IP addresses used out: " +
        "all 10 addresses of IPPool a are in use; IPPool b has no address to hand out",
    );
    assert.match(fix, /^add addresses to spec\.ips of IPPool a/);
    // Some may be in quarantine, and have no Pod that could be deleted.
    assert.match(fix, /: spiderpoolctl ip show --pool a says who has them$/);
  });

  it("stays short for hundreds of pools", () => {
    const evidence = { allowed: 1n, freeByUsage: 0n, own: 0n, met: 0n };
    const tried = Array.from({ length: 300 }, (_, at) => ({ pool: pool(`p${at}`), evidence }));
    assert.ok(formatExhausted("eth0", 6, tried).message.length < 700);
  });
});
