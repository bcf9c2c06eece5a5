import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type SpiderIPAddress, spiderIPAddresses } from "#api";
import type { PoolView } from "#ipam";
import type { Fault } from "../../kube/testing/fake-api.ts";
import type { Commit } from "../../kube/testing/fake-storage.ts";
import { Cluster, reason, requestOf, type TestNode, testPool } from "../testing/nodes.ts";

/** What may happen to a request; none of the delays outlasts what a real server would still act on. */
const fault: fc.Arbitrary<Fault | undefined> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  fc.constantFrom<Fault>(
    { kind: "not-sent" },
    { kind: "lost-before" },
    { kind: "lost-after" },
    { kind: "status", status: 409, reason: "Conflict" },
    { kind: "status", status: 429, reason: "TooManyRequests", retryAfterS: 1 },
    { kind: "status", status: 500, reason: "InternalError" },
    { kind: "status", status: 403, reason: "Forbidden" },
    { kind: "late-answer", ms: 12_000 },
    { kind: "late-commit", ms: 3_500 },
    { kind: "hang" },
  ),
);

const pod = fc.nat(7);
const op = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("add"), pod, fails: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("die"), pod }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart"), node: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait"), ms: fc.constantFrom(0, 50, 1_000, 20_000, 90_000) }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

interface ModelPod {
  readonly uid: string;
  readonly node: number;
  sandboxes: number;
  /** Its address, once an ADD was answered. */
  answered: string | undefined;
  alive: boolean;
}

/** Nodes, Pods and their runtime, doing only what Kubernetes guarantees; the ledgers are the real ones. */
class History {
  readonly #cluster: Cluster;
  readonly #pool: PoolView;
  readonly #nodes: TestNode[];
  readonly #running = new Set<Promise<void>>();
  /** Slots of Pods: a Pod that died is followed by another one with a UID of its own. */
  readonly #pods: ModelPod[] = [];
  readonly #everyone: ModelPod[] = [];

  private constructor(cluster: Cluster, nodes: TestNode[], pool: PoolView) {
    this.#cluster = cluster;
    this.#nodes = nodes;
    this.#pool = pool;
    for (let slot = 0; slot < 8; slot++) this.#born(slot);
  }

  static async start(cluster: Cluster, size: number): Promise<History> {
    const nodes = [await cluster.node("n0"), await cluster.node("n1"), await cluster.node("n2")];
    return new History(cluster, nodes, testPool(`10.6.0.1-10.6.0.${size}`));
  }

  async do(step: Op): Promise<void> {
    if (step.kind === "wait") await this.#cluster.clock.advance(step.ms);
    else if (step.kind === "restart") await this.#restart(step.node);
    else if (step.kind === "die") this.#die(step.pod);
    else this.#spawn(this.#add(this.#pods[step.pod] ?? assert.fail(), step.fails));
    this.check();
  }

  /** Every ADD is over, nothing is open, the dead are cleaned up: claims are those of the living. */
  async quiet(): Promise<void> {
    await this.#cluster.drive(Promise.all(this.#running));
    await this.#cluster.clock.advance(200_000);
    for (const one of this.#everyone) if (one.answered === undefined) one.alive = false;
    this.#reconcile();
    await this.#cluster.drive(Promise.all(this.#nodes.map(({ ledger }) => ledger.drained())));
    this.check();
    const living = this.#everyone.filter(({ alive }) => alive).map(({ uid, answered }) => [answered, uid]);
    assert.deepEqual(this.#cluster.held, Object.fromEntries(living.sort()));
  }

  check(): void {
    const claims = this.#cluster.api.all(spiderIPAddresses);
    const keys = claims.map(({ spec }) => `${spec.podUID}/${spec.nic}`);
    assert.equal(new Set(keys).size, keys.length, `two claims for one key: ${keys}`);
    for (const { alive, answered, uid } of this.#everyone) {
      if (alive && answered !== undefined)
        assert.equal(this.#cluster.held[answered], uid, "an answered ADD has its claim");
    }
  }

  #born(slot: number): void {
    const born = { uid: `p${this.#everyone.length}`, node: slot % 3, sandboxes: 0, answered: undefined, alive: true };
    this.#pods[slot] = born;
    this.#everyone.push(born);
  }

  /** One ADD of a new sandbox. `fails`: after it had its address, something else goes wrong, and it is undone. */
  async #add(one: ModelPod, fails: boolean): Promise<void> {
    one.sandboxes += 1;
    const { ledger } = this.#node(one);
    const request = requestOf(one.uid, [this.#pool], { sandbox: `${one.uid}-${one.sandboxes}` });
    const deadline = new AbortController();
    const done = new AbortController();
    const late = this.#cluster.clock.sleep(30_000, { signal: done.signal });
    late.then(
      () => deadline.abort(new Error("too late")),
      () => {},
    );
    try {
      const { claim, fresh } = await ledger.claim(request, { signal: deadline.signal });
      if (this.#node(one).ledger !== ledger) return; // The process was killed before it could answer.
      if (!fails) one.answered = claim.name;
      else if (fresh && one.answered === undefined) ledger.release(claim, reason);
    } catch {
      // Kubelet will try again, or not.
    } finally {
      done.abort();
      this.#reconcile();
    }
  }

  #die(slot: number): void {
    const dead = this.#pods[slot];
    if (dead !== undefined) dead.alive = false;
    this.#born(slot);
    this.#reconcile();
  }

  async #restart(at: number): Promise<void> {
    const old = this.#nodes[at] ?? assert.fail();
    old.kill();
    const records = this.#everyone.flatMap(({ node, answered }) => (node === at && answered ? [answered] : []));
    this.#nodes[at] = await this.#cluster.node(old.name, records);
    this.#reconcile();
  }

  /** What the agent's reconciler does: a dead Pod's claims go. */
  #reconcile(): void {
    for (const { ledger } of this.#nodes) {
      for (const claim of ledger.claims()) {
        const holder = this.#everyone.find(({ uid }) => uid === claim.spec.podUID);
        if (holder?.alive !== true) ledger.release(claim, reason);
      }
    }
  }

  #node({ node }: ModelPod): TestNode {
    return this.#nodes[node] ?? assert.fail();
  }

  #spawn(running: Promise<void>): void {
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }
}

/** Create, another sandbox of the same Pod, delete: nothing else. */
function assertLegal({ before, after, key }: Commit): void {
  if (before === undefined || after === undefined) return;
  const [was, is] = [before, after].map((object) => ({
    ...(object as unknown as SpiderIPAddress).spec,
    containerID: "",
    bootID: "",
  }));
  assert.deepEqual(is, was, `claim ${key} changed in more than its sandbox`);
}

describe("a history of three nodes", () => {
  it("never gives one key two claims nor one address two holders, and ends with the claims of the living", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(op, { maxLength: 30 }),
        fc.infiniteStream(fault),
        fc.integer({ min: 2, max: 12 }),
        async (steps, faults, size) => {
          using cluster = new Cluster();
          const history = await History.start(cluster, size);
          cluster.api.faults = ({ method, path }) =>
            path.includes("/spideripaddresses") && (method !== "GET" || !path.includes("?"))
              ? faults.next().value
              : undefined;
          for (const step of steps) await history.do(step);
          cluster.api.faults = () => undefined;
          await history.quiet();
          for (const commit of cluster.api.history) assertLegal(commit);
        },
      ),
      { numRuns: 100, interruptAfterTimeLimit: 8_000 },
    );
  });
});
