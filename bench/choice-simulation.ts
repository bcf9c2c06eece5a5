/**
 * How many creates a Pod costs when many nodes fill one pool at once, by the rule for choosing the next address. A simulation
 * in virtual time with the product's own `Chooser` and `Turns`: `node bench/choice-simulation.ts`. The decision note cites its table.
 *
 * Model: all Pods ask at once, each on a random node, and a node creates when it is its Pods' turn. The API server works on four
 * creates at a time, 6 ms each, and answers the second create of an address with 409. Watches lag by 10 ms. The leader
 * publishes the usage when allocations since the last time are at least a quarter of what is free (with grants: half) or there
 * are a tenth more nodes (or Pods without a granted address), at least 25 ms, and 1 ms for each node, and at most 1 s apart (for the
 * random rule once a second); a node has a rank when it has a claim.
 */
import { never } from "#base";
import { type Ip, IpSet, ipFromValue, ipValue } from "#ip";
import { Chooser, type UsageSnapshot } from "#ipam";
import { fractionsFrom } from "../src/base/testing/random.ts";
import { Turns } from "../src/ledger/node/turns.ts";
import { type Grants, grantsOf, ungranted, type WaitingNode } from "../src/ledger/views/grants.ts";

interface Scenario {
  readonly title: string;
  readonly addresses: number;
  readonly usedBefore: number;
  readonly pods: number;
  readonly agents: number;
}

const rules = ["lowest, then random", "rank + usage", "rank + usage + hint", "rank + usage + grants"] as const;
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
const createMs = 6;
const watchLagMs = 10;
/** How often the leader looks. */
const lookMs = 5;
const publishMsMin = 25;
const publishMsPerNode = 1;
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

  /** Promises settle between two acts, as they do in a program. */
  async run(): Promise<void> {
    for (let next = this.#acts.shift(); next !== undefined; next = this.#acts.shift()) {
      this.nowMs = next.atMs;
      next.act();
      await new Promise((resolve) => setImmediate(resolve));
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

  /** Resolves with whether it made the claim. */
  create(agent: Agent, ip: Ip): Promise<boolean> {
    const waiting = agent.podsWaiting - agent.turns.inside;
    return new Promise((answer) => {
      const work = () => this.#work(agent, { ip, waiting }, answer);
      if (this.#busy < apiSlots) work();
      else this.#queue.push(work);
    });
  }

  #work(agent: Agent, { ip, waiting }: Create, answer: (created: boolean) => void): void {
    this.#busy++;
    this.#timeline.after(createMs, () => {
      this.#busy--;
      const created = !this.claims.contains(ip);
      this.claims = this.claims.add(ip);
      this.#timeline.after(watchLagMs, () => {
        this.seen = this.seen.add(ip);
        if (created) Object.assign(agent, { seen: agent.seen + 1, told: { waiting, last: ip } });
      });
      answer(created);
      this.#queue.shift()?.();
    });
  }
}

/** What a create says: the address, and how many more Pods wait on the node. */
interface Create {
  readonly ip: Ip;
  readonly waiting: number;
}

interface Agent {
  readonly name: string;
  readonly chooser: Chooser;
  readonly turns: Turns;
  /** The newest usage, until a Pod chooses; `grants`: to how many nodes addresses are granted. */
  unread: (UsageSnapshot & { readonly grants: number }) | undefined;
  /** For the random rule: addresses that the node takes for free. */
  open: IpSet;
  podsWaiting: number;
  /** How many of the claims that the leader sees are the node's. */
  seen: number;
  /** What the newest of these claims said. */
  told: Omit<WaitingNode, "node"> | undefined;
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
  #published: { readonly used: IpSet; readonly nodes: number; readonly grants: Grants; readonly atMs: number };

  constructor(rule: Rule, scenario: Scenario, random: () => number) {
    this.#rule = rule;
    this.#scenario = scenario;
    this.#random = random;
    this.#all = IpSet.of(4, [{ first: ipAt(0), last: ipAt(scenario.addresses - 1) }]);
    this.#api = new Api(this.#timeline, randomSubset(this.#all, scenario.usedBefore, random));
    this.#published = { used: this.#api.seen, nodes: 0, grants: new Map(), atMs: 0 };
    const agent = (at: number): Agent => ({
      name: `n${at}`,
      chooser: new Chooser({ set: this.#all, reserved: none }, { spot: random() }),
      turns: new Turns(),
      unread: undefined,
      open: this.#all,
      podsWaiting: 0,
      seen: 0,
      told: undefined,
    });
    this.#agents = Array.from({ length: scenario.agents }, (_, at) => agent(at));
  }

  async run(): Promise<readonly number[]> {
    this.#tell(this.#api.seen);
    const pods = Array.from({ length: this.#scenario.pods }, () => {
      const agent = this.#agents[Math.floor(this.#random() * this.#agents.length)];
      return agent && this.#allocate(agent);
    });
    this.#considerPublishing();
    await this.#timeline.run();
    await Promise.all(pods);
    return this.costs;
  }

  /** Claims for one Pod until it has an address. */
  async #allocate(agent: Agent): Promise<void> {
    agent.podsWaiting++;
    for (let creates = 0; ; ) {
      const tried = await this.#try(agent, creates);
      if (tried !== "nothing known to be free") creates++;
      if (tried === "made") {
        this.costs.push(creates);
        agent.podsWaiting--;
        return;
      }
      if (tried === "met") await this.#sleep(this.#rule === "rank + usage + hint" ? hintMs : 0);
      // To this node all addresses seem taken. The next usage will show which are left.
      else await this.#sleep(publishMsMin);
    }
  }

  async #try(agent: Agent, creates: number): Promise<"made" | "met" | "nothing known to be free"> {
    using _turn = await agent.turns.enter("default", { signal: never });
    const ip = this.#choose(agent, creates);
    if (ip === undefined) return "nothing known to be free";
    if (await this.#api.create(agent, ip)) {
      agent.turns.made();
      return "made";
    }
    agent.chooser.meet(ip, this.#timeline.nowMs);
    agent.turns.met();
    return "met";
  }

  #choose(agent: Agent, creates: number): Ip | undefined {
    const { chooser, turns, unread } = agent;
    if (unread !== undefined) {
      agent.open = agent.open.subtract(unread.used);
      chooser.setUsage(unread);
      turns.among(unread.share?.ranks ?? 1, {
        // Where nothing is granted to anybody, nobody waits for it.
        granted: this.#rule !== "rank + usage + grants" ? 1 : unread.granted?.own.isEmpty === false ? unread.grants : 0,
      });
      agent.unread = undefined;
    }
    if (this.#rule === "lowest, then random") {
      const index = creates === 0 ? 0 : Math.floor(this.#random() * Number(agent.open.size));
      const ip = agent.open.nth(BigInt(index));
      if (ip !== undefined) agent.open = agent.open.remove(ip);
      return ip;
    }
    if (this.#rule === "rank + usage + hint" && creates > 0) return this.#hint();
    if (agent.podsWaiting > 1) chooser.crowd();
    const choice = chooser.next(this.#timeline.nowMs);
    return choice.kind === "address" ? choice.ip : undefined;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#timeline.after(ms, resolve));
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
    const nodes = this.#agents.filter(({ seen }) => seen > 0).length;
    const sinceMs = this.#timeline.nowMs - this.#published.atMs;
    const allocated = Number(used.size - this.#published.used.size);
    const isMany = (news: number, of: number) => news >= Math.max(1, of);
    const freeThen = Number(this.#all.size - this.#published.used.size);
    const waiting = this.#waiting();
    const isHurried =
      isMany(allocated, freeThen / (this.#published.grants.size > 0 ? 2 : 4)) ||
      isMany(nodes - this.#published.nodes, this.#published.nodes / 10) ||
      isMany(ungranted(this.#published.grants, waiting, used), sum(waiting.map((node) => node.waiting)) / 10);
    const soonestMs = Math.min(publishMsMax, publishMsMin + publishMsPerNode * nodes);
    const early = this.#rule !== "lowest, then random" && isHurried && sinceMs >= soonestMs;
    if (allocated > 0 && (early || sinceMs >= publishMsMax)) {
      const grants = grantsOf(this.#all.subtract(used), this.#published.grants, waiting);
      this.#published = { used, nodes, grants, atMs: this.#timeline.nowMs };
      const ranked = this.#agents.filter(({ seen }) => seen > 0);
      this.#timeline.after(createMs + watchLagMs, () => this.#tell(used, ranked, grants));
    }
    if (this.costs.length < this.#scenario.pods) this.#timeline.after(lookMs, () => this.#considerPublishing());
  }

  #waiting(): readonly WaitingNode[] {
    if (this.#rule !== "rank + usage + grants") return [];
    return this.#agents.flatMap(({ name, told }) => (told && told.waiting > 0 ? { node: name, ...told } : []));
  }

  #tell(used: IpSet, ranked: readonly Agent[] = [], grants: Grants = new Map()): void {
    const ranks = ranked.length;
    const all = [...grants.values()].reduce((together, of) => together.union(of), none);
    for (const agent of this.#agents) {
      const rank = ranked.indexOf(agent);
      const own = grants.get(agent.name) ?? none;
      agent.unread = {
        used,
        cooling: none,
        grants: grants.size,
        share: ranks > 1 && rank >= 0 ? { rank, ranks } : undefined,
        granted: { own, others: all.subtract(own) },
      };
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

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function mean(numbers: readonly number[]): number {
  return sum(numbers) / numbers.length;
}

console.log(`writes per Pod (and of the worst tenth), mean of ${seeds.length} fillings\n`);
console.log(`| Pods on addresses | agents | ${rules.join(" | ")} |\n|---|---|${"---|".repeat(rules.length)}`);
for (const scenario of scenarios) {
  const cells: string[] = [];
  for (const rule of rules) {
    const costs: number[] = [];
    for (const seed of seeds) costs.push(...(await new Filling(rule, scenario, fractionsFrom(seed)).run()));
    costs.sort((a, b) => b - a);
    cells.push(`${mean(costs).toFixed(2)} (${mean(costs.slice(0, Math.ceil(costs.length / 10))).toFixed(1)})`);
  }
  console.log(`| ${scenario.title} | ${scenario.agents} | ${cells.join(" | ")} |`);
}
