import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Clock, never, type Signal, silentLogger } from "#base";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { KubeClient } from "../client.ts";
import type { ApiRequest, Transport } from "../http/transport.ts";
import { leases } from "../kinds/core.ts";
import { FakeApi, type Fault } from "../testing/fake-api.ts";
import { LeaderElector, type Term } from "./election.ts";

const ref = { namespace: "kube-system", name: "controller" };

/** A machine of its own: its clock goes faster or slower than others', and all that runs on it can stop for a while. */
class Machine implements Clock {
  readonly #world: ManualClock;
  readonly #rate: number;
  #resumed: Promise<void> = Promise.resolve();
  isPaused = false;

  constructor(world: ManualClock, rate: number) {
    this.#world = world;
    this.#rate = rate;
  }

  monotonicMs(): number {
    return this.#world.monotonicMs() * this.#rate;
  }

  /** Hours apart from the others': nothing may go by it. */
  wall(): Date {
    return new Date(this.#world.wall().getTime() * this.#rate);
  }

  async sleep(ms: number, o: Signal): Promise<void> {
    await this.#world.sleep(Math.ceil(ms / this.#rate), o);
    await this.#resumed;
  }

  after(ms: number, act: () => void): () => void {
    const cancelled = new AbortController();
    this.sleep(ms, cancelled).then(act, () => {});
    return () => cancelled.abort();
  }

  pause(ms: number): void {
    if (this.isPaused || ms === 0) return;
    this.isPaused = true;
    this.#resumed = this.#world.sleep(ms, { signal: never }).then(() => {
      this.isPaused = false;
    });
  }

  /** The same over this machine's network: what arrives waits until somebody runs. */
  connect(transport: Transport): Transport {
    return {
      server: transport.server,
      send: async (request, o) => {
        await this.#resumed;
        const answer = await Promise.allSettled([transport.send(request, o)]);
        await this.#resumed;
        if (answer[0].status === "rejected") throw answer[0].reason;
        return answer[0].value;
      },
    };
  }
}

/** A candidate with a connection of its own that can be made to fail. */
class Candidate {
  readonly terms: Term[] = [];
  /** How often the API server was seen to be put back. */
  rewinds = 0;
  readonly elector: LeaderElector;
  fault: Fault | undefined;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(
    identity: string,
    {
      clock,
      api,
      onTerm = () => {},
    }: { readonly clock: Clock; readonly api: FakeApi; readonly onTerm?: (term: Term) => void },
  ) {
    const direct: Transport = {
      server: api.server,
      send: (request: ApiRequest, o) => {
        if (this.fault !== undefined) api.fail((other) => other === request, this.fault);
        return api.send(request, o);
      },
    };
    const transport = clock instanceof Machine ? clock.connect(direct) : direct;
    const client = new KubeClient({ transport, clock });
    const rewound = () => {
      this.rewinds += 1;
    };
    this.elector = new LeaderElector({ client, clock, log: silentLogger, identity, ...ref, random: () => 0, rewound });
    this.#running = this.elector.run(async (term) => {
      this.terms.push(term);
      onTerm(term);
      await new Promise<void>((resolve) => term.signal.addEventListener("abort", () => resolve(), { once: true }));
    }, this.#stop);
  }

  get leads(): boolean {
    return this.elector.term?.signal.aborted === false;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("stop"));
    await this.#running;
  }
}

const fault = fc.constantFrom<Fault | undefined>(
  undefined,
  undefined,
  { kind: "hang" },
  { kind: "lost-before" },
  { kind: "lost-after" },
  { kind: "not-sent" },
  { kind: "late-answer", ms: 6_000 },
  { kind: "late-commit", ms: 7_000 },
  { kind: "status", status: 500, reason: "InternalError" },
);
const passMs = fc.nat(12_000);

describe("LeaderElector", () => {
  it("lets one of two lead, and the other as soon as the first gives the Lease back", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const [a, b] = [new Candidate("a", { clock, api }), new Candidate("b", { clock, api })];
    await clock.advance(30_000);
    assert.deepEqual([a.leads, b.leads, a.terms.map((term) => term.epoch)], [true, false, [0]]);
    const stopping = a.stop();
    await clock.advance(4_000);
    await stopping;
    assert.deepEqual([a.leads, b.leads, b.terms.map((term) => term.epoch)], [false, true, [1]]);
    const last = b.stop();
    await clock.advance(0);
    await last;
    assert.deepEqual([api.read(leases, ref)?.spec?.holderIdentity, clock.sleeping], ["", 0]);
  });

  it("stops by its own clock when renewals hang, before another may lead", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const a = new Candidate("a", { clock, api });
    await clock.advance(1_000);
    const b = new Candidate("b", { clock, api });
    await clock.advance(2_000);
    a.fault = { kind: "hang" };
    // The last renewal was sent at 2000 ms.
    await clock.advance(8_999);
    assert.deepEqual([clock.monotonicMs(), a.leads], [11_999, true]);
    await clock.advance(1);
    assert.deepEqual([a.leads, b.leads], [false, false]);
    await clock.advance(8_000);
    assert.deepEqual([b.leads, b.terms[0]?.epoch], [true, 1]);
    for (const one of [a, b]) {
      const stopping = one.stop();
      await clock.advance(3_000);
      await stopping;
    }
  });

  it("goes on leading where only the answer of a renewal was lost", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const a = new Candidate("a", { clock, api });
    await clock.advance(1_000);
    a.fault = { kind: "lost-after" };
    await clock.advance(2_000);
    a.fault = undefined;
    await clock.advance(60_000);
    assert.deepEqual([a.leads, a.terms.length], [true, 1]);
    await a.stop();
  });

  it("ends the term when somebody else holds the Lease, or it was deleted", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const a = new Candidate("a", { clock, api });
    await clock.advance(1_000);
    const lease = api.read(leases, ref);
    api.apply(leases, { metadata: ref, spec: { ...lease?.spec, holderIdentity: "z", leaseTransitions: 5 } });
    await clock.advance(2_000);
    assert.equal(a.leads, false);
    await clock.advance(20_000);
    assert.deepEqual([a.leads, a.terms.at(-1)?.epoch], [true, 6]);
    api.remove(leases, ref);
    await clock.advance(6_000);
    assert.deepEqual([a.terms[1]?.signal.aborted, a.terms.map((term) => term.epoch)], [true, [0, 6, 7]]);
    await a.stop();
  });

  it("tells that the API server was put back, also at a time when nobody led", async () => {
    for (const awayMs of [0, 30_000]) {
      const clock = new ManualClock();
      const api = new FakeApi({ clock });
      const candidates = ["a", "b"].map((identity) => new Candidate(identity, { clock, api }));
      const rewinds = () => candidates.map((one) => one.rewinds);
      await clock.advance(30_000);
      const restore = api.backup();
      await clock.advance(10_000);
      assert.deepEqual(rewinds(), [0, 0]);
      for (const one of candidates) if (awayMs > 0) one.fault = { kind: "not-sent" };
      await clock.advance(awayMs);
      restore();
      for (const one of candidates) one.fault = undefined;
      await clock.advance(20_000);
      // Who is faster has the Lease: the other one may see a new term only.
      const leader = candidates.findIndex((one) => one.leads);
      assert.equal(rewinds()[leader], 1, `away for ${awayMs} ms`);
      for (const one of candidates) {
        const stopping = one.stop();
        await clock.advance(1_000);
        await stopping;
      }
    }
  });

  it("gives the Lease back and throws where leading failed", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const client = new KubeClient({ transport: api, clock });
    const elector = new LeaderElector({ client, clock, log: silentLogger, identity: "a", ...ref });
    await assert.rejects(
      elector.run(() => Promise.reject(new Error("broken")), { signal: new AbortController().signal }),
      /broken/,
    );
    assert.equal(api.read(leases, ref)?.spec?.holderIdentity, "");
  });

  it("refuses durations that would let two lead", () => {
    const clock = new ManualClock();
    const client = new KubeClient({ transport: new FakeApi({ clock }), clock });
    const options = { client, clock, log: silentLogger, identity: "a", ...ref };
    assert.throws(() => new LeaderElector({ ...options, renewDeadlineMs: 15_000 }), RangeError);
  });

  it("is over for a leader that stood still too long, before it acts again", async () => {
    const clock = new ManualClock();
    const api = new FakeApi({ clock });
    const machine = new Machine(clock, 1);
    const a = new Candidate("a", { clock: machine, api });
    await clock.advance(1_000);
    const b = new Candidate("b", { clock: new Machine(clock, 1), api });
    machine.pause(60_000);
    await clock.advance(59_999);
    assert.deepEqual([a.leads, machine.isPaused, b.leads], [true, true, true], "it cannot know yet");
    await clock.advance(1);
    assert.deepEqual([a.leads, machine.isPaused, b.leads], [false, false, true]);
    await clock.advance(60_000);
    assert.deepEqual([a.terms.length, b.leads], [1, true]);
    for (const one of [a, b]) {
      const stopping = one.stop();
      await clock.advance(10_000);
      await stopping;
    }
  });

  it("lets one act at a time on machines whose clocks drift and that stop now and then", async () => {
    const action = fc.record({ who: fc.nat(2), pauseMs: fc.constantFrom(0, 0, 3_000, 12_000, 40_000), fault, passMs });
    // An eighth of drift: 10 s of the slowest end before 15 s of the fastest.
    const rate = fc.constantFrom(0.875, 1, 1.125);
    await fc.assert(
      fc.asyncProperty(fc.tuple(rate, rate, rate), fc.array(action, { maxLength: 25 }), async (rates, actions) => {
        const clock = new ManualClock();
        const api = new FakeApi({ clock });
        const machines = rates.map((one) => new Machine(clock, one));
        const candidates: Candidate[] = [];
        const wrong: string[] = [];
        const check = () => {
          const acting = candidates.filter((one, at) => one.leads && machines[at]?.isPaused === false);
          if (acting.length > 1) wrong.push("two act");
        };
        let epoch = -1;
        const onTerm = (term: Term) => {
          check();
          if (term.epoch <= epoch) wrong.push(`epoch ${term.epoch} after ${epoch}`);
          epoch = term.epoch;
        };
        for (const [at, machine] of machines.entries()) {
          candidates.push(new Candidate(`m${at}`, { clock: machine, api, onTerm }));
        }
        for (const { who, pauseMs, fault: next, passMs: ms } of actions) {
          const candidate = candidates[who];
          if (candidate !== undefined) candidate.fault = next;
          machines[who]?.pause(pauseMs);
          for (let passed = 0; passed < ms; passed += 500) {
            await clock.advance(500);
            check();
          }
        }
        for (const candidate of candidates) candidate.fault = undefined;
        await clock.advance(120_000);
        const leaders = candidates.filter((one) => one.leads).length;
        for (const candidate of candidates) {
          const stopping = candidate.stop();
          await clock.advance(10_000);
          await stopping;
        }
        assert.deepEqual([wrong, leaders, candidates.map((one) => one.rewinds)], [[], 1, [0, 0, 0]]);
      }),
      { numRuns: 60, endOnFailure: true },
    );
  });

  it("never lets two lead at once, and gives every term a greater epoch, under any faults", async () => {
    const action = fc.record({ who: fc.nat(2), fault, passMs });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
        const clock = new ManualClock();
        const api = new FakeApi({ clock });
        const candidates: Candidate[] = [];
        let epoch = -1;
        const onTerm = (term: Term) => {
          const leaders = candidates.filter((one) => one.leads);
          assert.ok(leaders.length <= 1, "two lead");
          assert.ok(term.epoch > epoch, `epoch ${term.epoch} after ${epoch}`);
          epoch = term.epoch;
        };
        for (const identity of ["a", "b", "c"]) candidates.push(new Candidate(identity, { clock, api, onTerm }));
        for (const { who, fault, passMs } of actions) {
          const candidate = candidates[who];
          if (candidate !== undefined) candidate.fault = fault;
          await clock.advance(passMs);
        }
        for (const candidate of candidates) candidate.fault = undefined;
        await clock.advance(60_000);
        assert.equal(candidates.filter((one) => one.leads).length, 1);
        for (const candidate of candidates) {
          const stopping = candidate.stop();
          await clock.advance(10_000);
          await stopping;
        }
        await clock.advance(10_000);
        assert.deepEqual([clock.sleeping, candidates.map((one) => one.rewinds)], [0, [0, 0, 0]]);
      }),
      { numRuns: 100 },
    );
  });
});
