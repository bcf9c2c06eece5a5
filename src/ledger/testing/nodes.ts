import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spiderIPAddresses } from "#api";
import { silentLogger } from "#base";
import { IpSet, tryParseIp } from "#ip";
import { type PoolView, poolView } from "#ipam";
import { type ApiRequest, KubeClient, type Transport } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import type { Claim } from "../claims/claim.ts";
import { Intents } from "../node/intents.ts";
import { Ledger } from "../node/ledger.ts";
import type { ClaimRequest } from "../node/request.ts";

/** A cluster in memory: one API server, one clock, and ledgers of as many nodes as a test starts. */
export class Cluster implements Disposable {
  readonly clock = new ManualClock();
  readonly api = new FakeApi({ clock: this.clock });
  /** Sticky claims that no index names. */
  readonly unindexed = new Set<string>();
  /** What has to happen before new addresses are given; undefined: nothing. */
  closed: Promise<void> | undefined;
  /** IPv4 addresses that no pool may give. */
  reserved = IpSet.empty(4);
  readonly #folder = mkdtempSync(join(tmpdir(), "ledger-"));
  readonly #stops: (() => void)[] = [];

  /** Starts the node's ledger; a second start of a node finds the intents of the first, of the same boot. */
  async node(name = "n1", records: readonly string[] = [], { boot = "boot-1" } = {}): Promise<TestNode> {
    const stop = new AbortController();
    const used = new Set(records);
    const { clock, api } = this;
    // A killed process sends nothing more; what it sent goes its way.
    const transport: Transport = {
      server: api.server,
      send: (request, { signal }) => api.send(request, { signal: AbortSignal.any([signal, stop.signal]) }),
    };
    const intents = new MortalIntents(join(this.#folder, boot, name), stop.signal);
    const ledger = new Ledger({
      client: new KubeClient({ transport, clock }),
      clock,
      log: silentLogger,
      node: name,
      bootId: boot,
      intents,
      reserved: (family) => (family === 4 ? this.reserved : IpSet.empty(family)),
      inUse: ({ name: claim }) => used.has(claim),
      isIndexed: async ({ name: claim }) => !this.unindexed.has(claim),
      open: async () => this.closed,
      signal: stop.signal,
    });
    const kill = () => stop.abort(new Error("killed"));
    this.#stops.push(kill);
    const never = { signal: stop.signal };
    await this.drive(retried(() => ledger.recall(records, never)));
    return { name, ledger, intents, used, kill };
  }

  /** Moves time on until the promise has settled. Bounded: ten minutes of the clock. */
  drive<T>(promise: Promise<T>): Promise<T> {
    return this.clock.drive(promise);
  }

  /** One ADD's claim, with the ADD's deadline. */
  async claim({ ledger }: TestNode, request: ClaimRequest, deadlineMs = 30_000) {
    const deadline = new AbortController();
    const done = new AbortController();
    this.clock.sleep(deadlineMs, { signal: done.signal }).then(
      () => deadline.abort(new Error("ADD was not done in time")),
      () => {},
    );
    try {
      return await this.drive(ledger.claim(request, { signal: deadline.signal }));
    } finally {
      done.abort();
    }
  }

  /** The addresses in the ledger, each with its Pod. */
  get held(): Readonly<Record<string, string | undefined>> {
    return Object.fromEntries(
      this.api.all(spiderIPAddresses).map(({ metadata, spec }) => [metadata.name, spec.podUID]),
    );
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Intents that a killed process cannot touch any more. */
class MortalIntents extends Intents {
  readonly #end: AbortSignal;

  constructor(folder: string, end: AbortSignal) {
    super(folder);
    this.#end = end;
  }

  override write(key: string, claimName: string): void {
    if (!this.#end.aborted) super.write(key, claimName);
  }

  override remove(key: string): void {
    if (!this.#end.aborted) super.remove(key);
  }
}

export interface TestNode {
  readonly name: string;
  readonly ledger: Ledger;
  readonly intents: Intents;
  /** Names of claims that a Pod or sandbox of the node needs, though the ledger may not know them. */
  readonly used: Set<string>;
  /** Ends the process: memory is lost, intents stay. */
  readonly kill: () => void;
}

export function testPool(ips: string, name = "pool-a"): PoolView {
  const subnet = tryParseIp(ips.split("-", 1)[0] ?? "")?.family === 6 ? "fd00::/64" : "10.6.0.0/16";
  return poolView({ metadata: { name, uid: `uid-${name}`, generation: 1 }, spec: { subnet, ips: [ips] } });
}

/** What an ADD asks for: `pod` names the Pod and is its UID. */
export function requestOf(pod: string, pools: readonly PoolView[], more: { nic?: string; sandbox?: string } = {}) {
  const { nic = "eth0", sandbox = `${pod}-1` } = more;
  return {
    family: pools[0]?.family ?? 4,
    pools,
    holder: { pod: { namespace: "default", name: pod, uid: pod }, nic, containerId: sandbox, network: "net" },
    answer: () => '{"prefix":16}',
  } satisfies ClaimRequest;
}

export const reason = { why: "the test says so", evidence: [] };

export function isCreate({ method, path }: ApiRequest): boolean {
  return method === "POST" && path.includes("/spideripaddresses");
}

export function isDelete({ method, path }: ApiRequest): boolean {
  return method === "DELETE" && path.includes("/spideripaddresses");
}

export function isList({ method, path }: ApiRequest): boolean {
  return method === "GET" && /\/spideripaddresses\?/.test(path);
}

/** The name alone: what a test compares. */
export function nameOf({ claim }: { readonly claim: Claim }): string {
  return claim.name;
}

async function retried(act: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await act();
    } catch (error) {
      if (tries > 50) throw error;
    }
  }
}
