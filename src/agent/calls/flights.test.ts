import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Flight, Flights } from "./flights.ts";

const flight = (at: number): Flight => ({
  verb: "ADD",
  executable: "ovs",
  network: "n",
  containerId: `c${at}`,
  ifName: "eth0",
  pod: "default/a",
  startedAt: "2026-01-01T00:00:00.000Z",
  totalMs: at,
  spans: [],
});

describe("Flights", () => {
  it("keeps the last 1,000, however many there were", () => {
    const flights = new Flights({ max: 1_000 });
    for (let at = 1; at <= 3_333; at++) {
      flights.add(flight(at));
      const kept = flights.list();
      assert.equal(kept.length, Math.min(at, 1_000));
      assert.deepEqual([kept[0]?.totalMs, kept.at(-1)?.totalMs], [Math.max(1, at - 999), at]);
    }
  });
});
