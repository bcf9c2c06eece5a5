import { join } from "node:path";
import { spiderIPPools } from "#api";
import { silentLogger, systemClock, withTimeout } from "#base";
import { IpSet } from "#ip";
import { KubeClient, type KubeObject, metadataOf, type Transport, WatchedStore } from "#kube";
import { type Claim, Intents, Ledger } from "#ledger";
import { PoolCache } from "../../src/agent/cluster/pool-cache.ts";
import { answer, newHolder } from "./new-pods.ts";

const clock = systemClock;
const log = silentLogger;
const none = IpSet.empty(4);
/** Like an ADD of a container runtime. */
const claimMsMax = 30_000;

/** How many writes agents sent. */
export interface Writes {
  /** Creates of claims. */
  creates: number;
}

/**
 * The part of an agent that allocates, and nothing else: the product's pool cache and ledger, with connections, watches and
 * memory of its own.
 */
export class SimulatedAgent implements AsyncDisposable {
  readonly pools: PoolCache;
  readonly #node: string;
  readonly #stop = new AbortController();
  readonly #transport: Transport & Disposable;
  readonly #ledger: Ledger;
  readonly #metadata: WatchedStore<KubeObject>;
  readonly #running: Promise<unknown>;

  /** It takes over `transport`. `folder` is where all agents keep their intents. */
  constructor(node: string, transport: Transport & Disposable, folder: string, writes: Writes) {
    const { signal } = this.#stop;
    this.#node = node;
    this.#transport = transport;
    const client = new KubeClient({ transport: counting(transport, writes), clock, userAgent: "spiderpool-agent" });
    this.#metadata = new WatchedStore({ client, clock, log, resource: metadataOf(spiderIPPools) });
    this.pools = new PoolCache({ client, clock, log, metadata: this.#metadata });
    this.pools.start({ signal });
    this.#running = this.#metadata.run({ signal }).catch(() => {});
    this.#ledger = new Ledger({
      client,
      clock,
      log,
      node,
      bootId: node,
      signal,
      intents: new Intents(join(folder, node)),
      // Always the same one: a new one has a pool looked at anew.
      reserved: () => none,
      inUse: () => true,
      isIndexed: async () => true,
    });
  }

  /** Resolves when it knows all pools. */
  async ready(): Promise<void> {
    await this.#ledger.recall([], this);
    await this.pools.now(this);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Claims the address of a new Pod. Throws like an ADD. */
  async claim(poolName: string): Promise<Claim> {
    using signal = withTimeout(this.signal, claimMsMax, () => new Error(`no address within ${claimMsMax} ms`));
    const { pools } = await this.pools.now({ signal });
    const pool = pools.get(poolName);
    if (pool === undefined) throw new Error(`${this.#node} knows no pool ${poolName}`);
    const request = { family: 4, pools: [pool], holder: newHolder(), answer: () => answer } as const;
    const { claim } = await this.#ledger.claim(request, { signal });
    return claim;
  }

  /** Releases everything that it claimed. */
  async release(): Promise<void> {
    for (const claim of this.#ledger.claims())
      this.#ledger.release(claim, { why: "the measurement is over", evidence: [] });
    await this.#ledger.drained();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the measurement is over"));
    await this.#running;
    this.#transport[Symbol.dispose]();
  }
}

function counting(transport: Transport, writes: Writes): Transport {
  return {
    server: transport.server,
    send: (request, o) => {
      if (request.method === "POST" && request.path.includes("/spideripaddresses")) writes.creates += 1;
      return transport.send(request, o);
    },
  };
}
