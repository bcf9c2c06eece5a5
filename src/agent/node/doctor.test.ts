import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp, parsePrefix } from "#ip";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { findTwice, isUsed, Rounds } from "./doctor.ts";

it("the doctor asks no gateway by which a Pod has no route, as of a bridge that none of its Pods leaves", () => {
  const gateway = parseIp("10.1.0.1");
  const route = (dst: string, gw?: string) => ({ dst: parsePrefix(dst), ...(gw && { gw: parseIp(gw) }) });
  assert.equal(isUsed(gateway, []), false);
  assert.equal(isUsed(gateway, [route("0.0.0.0/0", "10.1.0.2"), route("::/0")]), false);
  assert.equal(isUsed(gateway, [route("0.0.0.0/0")]), true);
  assert.equal(isUsed(gateway, [route("192.0.2.0/24", "10.1.0.1")]), true);
});

it("the doctor publishes what a second look finds, too: not what a Pod shows while it ends", async () => {
  const clock = new ManualClock();
  const finding = (found: string) => ({ id: "nic-gone", on: "node1", severity: "error", found, fix: [] }) as const;
  const looks = [["a Pod that ends", "a Pod without its NIC"], ["a Pod without its NIC", "a Pod that ends now"], []];
  let next = 0;
  const look = async () => (looks[next++] ?? []).map(finding);
  const signal = AbortSignal.timeout(60_000);
  const twice = findTwice(look, clock, { signal });
  await clock.advance(10_000);
  assert.deepEqual(await twice, [finding("a Pod without its NIC")]);
  assert.deepEqual(await findTwice(look, clock, { signal }), []);
  assert.equal(next, 3, "a node in order is looked at once");
});

describe("the doctor's rounds", () => {
  it("come after a minute and then every ten, and once as soon as Open vSwitch is missed for longer than a restart", async () => {
    const clock = new ManualClock();
    let isMissed = false;
    using rounds = new Rounds({ clock, isMissed: () => isMissed });
    const stop = new AbortController();
    const looks: number[] = [];
    const looking = (async () => {
      for (;;) {
        await rounds.next(stop);
        looks.push(clock.monotonicMs() / 1_000);
      }
    })();
    // In seconds: away for one second only, then for long, and once more.
    const changes: readonly (readonly [number, boolean])[] = [
      [100, true],
      [101, false],
      [200, true],
      [201, true],
      [1_000, false],
      [1_500, true],
      [1_600, true],
    ];
    const startMs = clock.monotonicMs();
    for (const [at, next] of changes) {
      await clock.advance(startMs + at * 1_000 - clock.monotonicMs());
      isMissed = next;
      rounds.changed();
    }
    stop.abort(new Error("the end"));
    await assert.rejects(looking, /the end/);
    assert.deepEqual(
      looks.map((at) => at - startMs / 1_000),
      [60, 203, 803, 1_403, 1_503],
    );
  });
});
