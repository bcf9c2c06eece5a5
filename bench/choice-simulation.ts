/**
 * How many creates a Pod costs when many nodes fill one pool at once, by the rule for choosing the next address. A simulation
 * in virtual time with the product's own `Chooser`: `node bench/choice-simulation.ts`. The decision note cites its table.
 *
 * Model: all Pods ask at once, each on a random node. A node has at most four creates in flight. The API server works on four
 * creates at a time, 2 ms each, and answers the second create of an address with 409. Watches lag by 5 ms. The leader
 * publishes the usage when allocations since the last time are at least a third of what is free, at least 25 ms and at most
 * 1 s apart (for the random rule once a second); nodes know their rank from the start.
 */
import { type Ip, IpSet, ipFromValue, ipValue } from "#ip";
import { Chooser } from "#ipam";
import { fractionsFrom } from "../src/base/testing/random.ts";

interface Scenario {
  readonly title: string;
  readonly addresses: number;
  readonly usedBefore: number;
  readonly pods: number;
  readonly agents: number;
}

const rules = ["lowest, then random", "rank + usage", "rank + usage + hint"] as const;
type Rule = (typeof rules)[number];

const scenarios: readonly Scenario[] = [
  ...[1, 10, 100, 1000].map((agents) => ({
    title: "1,000 on 1,000",
    addresses: 1000,
    usedBefore: 0,
    pods: 1000,
    agents,
  })),
  { title: "100 on 100", addresses: 100, usedBefore: 0, pods: 100, agents: 100 },
  { title: "90 → 100 % of 1,000", addresses: 1000, usedBefore: 900, pods: 100, agents: 100 },
];

const seeds = [1, 2, 3, 4, 5];
const apiSlots = 4;
const createMs = 2;
const watchLagMs = 5;
const inFlightMax = 4;
const publishMsMin = 25;
const publishMsMax = 1000;
const hintMs = 2;
/** How long the leader does not offer an address again that it has offered to a node. */
const hintHeldMs = 2000;
const none = IpSet.empty(4);

/** Virtual time. Actions run in the order of their times, those of the same time in the order in which they were added. */
class Timeline {
  nowMs = 0;
  readonly #acts: { readonly atMs: number; readonly act: () => void }[] = [];

  after(ms: number, act: () => void): void {
    const atMs = this.nowMs + ms;
    let at = this.#acts.length;
    while (at > 0 && (this.#acts[at - 1]?.atMs ?? 0) > atMs) at--;
    this.#acts.splice(at, 0, { atMs, act });
  }

  run(): void {
    for (let next = this.#acts.shift(); next !== undefined; next = this.#acts.shift()) {
      this.nowMs = next.atMs;
      next.act();
    }
  }
}

/** The ledger behind an API server with few slots and a first-in, first-out queue before them. */
class Api {
  claims: IpSet;
  /** The claims as nodes see them by their watches. */
  seen: IpSet;
  readonly #timeline: Timeline;
  readonly #queue: (() => void)[] = [];
  #busy = 0;

  constructor(timeline: Timeline, claims: IpSet) {
    this.#timeline = timeline;
    this.claims = claims;
    this.seen = claims;
  }

  create(ip: Ip, answer: (created: boolean) => void): void {
    if (this.#busy < apiSlots) this.#work(ip, answer);
    else this.#queue.push(() => this.#work(ip, answer));
  }

  #work(ip: Ip, answer: (created: boolean) => void): void {
    this.#busy++;
    this.#timeline.after(createMs, () => {
      this.#busy--;
      const created = !this.claims.contains(ip);
      this.claims = this.claims.add(ip);
      this.#timeline.after(watchLagMs, () => {
        this.seen = this.seen.add(ip);
      });
      answer(created);
      this.#queue.shift()?.();
    });
  }
}

interface Agent {
  readonly rank: number;
  readonly chooser: Chooser;
  /** For the random rule: addresses that the node takes for free. */
  open: IpSet;
  podsWaiting: number;
  inFlight: number;
}

/** Fills one pool by one rule. */
class Filling {
  /** How many creates each Pod took, in the order in which the Pods got their addresses. */
  readonly costs: number[] = [];
  readonly #rule: Rule;
  readonly #scenario: Scenario;
  readonly #random: () => number;
  readonly #timeline = new Timeline();
  readonly #all: IpSet;
  readonly #api: Api;
  readonly #agents: readonly Agent[];
  readonly #told = new Map<bigint, number>();
  #published: { readonly used: IpSet; readonly atMs: number };

  constructor(rule: Rule, scenario: Scenario, random: () => number) {
    this.#rule = rule;
    this.#scenario = scenario;
    this.#random = random;
    this.#all = IpSet.of(4, [{ first: ipAt(0), last: ipAt(scenario.addresses - 1) }]);
    this.#api = new Api(this.#timeline, randomSubset(this.#all, scenario.usedBefore, random));
    this.#published = { used: this.#api.seen, atMs: 0 };
    const agent = (_: unknown, rank: number): Agent => ({
      rank,
      chooser: new Chooser({ set: this.#all, reserved: none }, { spot: random() }),
      open: this.#all,
      podsWaiting: 0,
      inFlight: 0,
    });
    this.#agents = Array.from({ length: scenario.agents }, agent);
  }

  run(): readonly number[] {
    for (let pod = 0; pod < this.#scenario.pods; pod++) {
      const agent = this.#agents[Math.floor(this.#random() * this.#agents.length)];
      if (agent !== undefined) agent.podsWaiting++;
    }
    this.#publish(this.#api.seen);
    this.#considerPublishing();
    for (const agent of this.#agents) this.#pump(agent);
    this.#timeline.run();
    return this.costs;
  }

  #pump(agent: Agent): void {
    while (agent.inFlight < inFlightMax && agent.podsWaiting > 0) {
      agent.podsWaiting--;
      agent.inFlight++;
      this.#allocate(agent, 0);
    }
  }

  /** Claims for one Pod, after `writes` creates. */
  #allocate(agent: Agent, writes: number): void {
    const ip = this.#choose(agent, writes);
    if (ip === undefined) {
      // To this node all addresses seem taken. The next usage will show which are left.
      this.#timeline.after(publishMsMin, () => this.#allocate(agent, writes));
      return;
    }
    this.#api.create(ip, (created) => {
      if (created) {
        this.costs.push(writes + 1);
        agent.inFlight--;
        this.#pump(agent);
        return;
      }
      agent.chooser.meet(ip, this.#timeline.nowMs);
      this.#timeline.after(this.#rule === "rank + usage + hint" ? hintMs : 0, () => this.#allocate(agent, writes + 1));
    });
  }

  #choose(agent: Agent, writes: number): Ip | undefined {
    if (this.#rule === "lowest, then random") {
      const index = writes === 0 ? 0 : Math.floor(this.#random() * Number(agent.open.size));
      const ip = agent.open.nth(BigInt(index));
      if (ip !== undefined) agent.open = agent.open.remove(ip);
      return ip;
    }
    if (this.#rule === "rank + usage + hint" && writes > 0) return this.#hint();
    const choice = agent.chooser.next(this.#timeline.nowMs);
    return choice.kind === "address" ? choice.ip : undefined;
  }

  /** The leader's hint: the lowest address that seems free and that it has not offered recently. */
  #hint(): Ip | undefined {
    const { nowMs } = this.#timeline;
    for (const { first, last } of this.#all.subtract(this.#api.seen).ranges) {
      for (let value = ipValue(first); value <= ipValue(last); value++) {
        if (nowMs - (this.#told.get(value) ?? -hintHeldMs) < hintHeldMs) continue;
        this.#told.set(value, nowMs);
        return ipFromValue(4, value);
      }
    }
    return undefined;
  }

  #considerPublishing(): void {
    const used = this.#api.seen;
    const sinceMs = this.#timeline.nowMs - this.#published.atMs;
    const allocated = Number(used.size - this.#published.used.size);
    const worth = Math.max(1, Math.floor(Number(this.#all.size - used.size) / 3));
    const early = this.#rule !== "lowest, then random" && allocated >= worth && sinceMs >= publishMsMin;
    if (allocated > 0 && (early || sinceMs >= publishMsMax)) {
      this.#published = { used, atMs: this.#timeline.nowMs };
      this.#timeline.after(createMs + watchLagMs, () => this.#publish(used));
    }
    if (this.costs.length < this.#scenario.pods) this.#timeline.after(watchLagMs, () => this.#considerPublishing());
  }

  #publish(used: IpSet): void {
    const ranks = this.#agents.length;
    for (const agent of this.#agents) {
      agent.open = agent.open.subtract(used);
      agent.chooser.setUsage({ used, cooling: none, share: ranks > 1 ? { rank: agent.rank, ranks } : undefined });
    }
  }
}

function ipAt(index: number): Ip {
  return ipFromValue(4, 0x0a000000n + BigInt(index));
}

function randomSubset(set: IpSet, count: number, random: () => number): IpSet {
  let left = set;
  for (let at = 0; at < count; at++) {
    const ip = left.nth(BigInt(Math.floor(random() * Number(left.size))));
    if (ip !== undefined) left = left.remove(ip);
  }
  return set.subtract(left);
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

console.log(`writes per Pod (and of the worst tenth), mean of ${seeds.length} fillings\n`);
console.log(`| Pods on addresses | agents | ${rules.join(" | ")} |\n|---|---|${"---|".repeat(rules.length)}`);
for (const scenario of scenarios) {
  const cells = rules.map((rule) => {
    const costs = seeds.flatMap((seed) => new Filling(rule, scenario, fractionsFrom(seed)).run()).sort((a, b) => b - a);
    return `${mean(costs).toFixed(2)} (${mean(costs.slice(0, Math.ceil(costs.length / 10))).toFixed(1)})`;
  });
  console.log(`| ${scenario.title} | ${scenario.agents} | ${cells.join(" | ")} |`);
}
