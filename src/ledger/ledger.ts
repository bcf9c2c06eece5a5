import { type SpiderIPAddress, spiderIPAddresses } from "#api";
import { backoffMs, type Clock, FairQueue, formatError, type Logger, type Signal, SpiderError } from "#base";
import { claimName, type Family, formatIp, type Ip, IpSet, parseClaimName } from "#ip";
import { type Chooser, type Evidence, formatExhausted, type PoolView } from "#ipam";
import { hasReason, isRetryable, type KubeClient, metadataOf, surelyUnchanged } from "#kube";
import { type Claim, claimDraft, claimKey, claimOf, type Holder, isMine, labelValue } from "./claim.ts";
import type { Intents } from "./intents.ts";
import { PoolBook } from "./pool-book.ts";
import { type ReleaseReason, Releases } from "./releases.ts";

/** Creates in flight at once, for the whole node. */
const createsMax = 4;
/** An authoritative list of one pool's claims is made at most this often; its answer holds as long. */
const listEveryMs = 5_000;
/** A claim that nobody here knows is a leak when it is older than this; younger ones may be on their way. */
const leakAgeMs = 60_000;
/** What became of a create that was cut off is looked up after these times. */
const limboLooksMs = [2_000, 10_000, 60_000];

export interface LedgerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: string;
  readonly bootId: string;
  readonly intents: Intents;
  readonly reserved: (family: Family) => IpSet;
  /** The process' own life: releases go on until it ends. */
  readonly signal: AbortSignal;
}

export interface ClaimRequest {
  readonly family: Family;
  /** The candidates in their order; the first that has an address is taken. */
  readonly pools: readonly PoolView[];
  readonly holder: Holder;
  /** What the Pod is told, kept in the claim. */
  readonly answer: (pool: PoolView, ip: Ip) => string;
}

export interface Claimed {
  readonly claim: Claim;
  /** False: the holder had it before this call, and an undo must leave it alone. */
  readonly fresh: boolean;
}

/**
 * The ledger as one node writes it: to allocate is to create the object that is named after the address, to release is to
 * delete exactly that object. All that is kept in memory can be lost: it makes guesses better and answers quicker.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #book: PoolBook;
  readonly #releases: Releases;
  readonly #creates = new FairQueue({ slots: createsMax, maxWaiting: 10_000 });
  /** Claims of this node by claimKey. */
  readonly #own = new Map<string, Claim>();
  /** When each pool was last listed, by its UID. */
  readonly #listedAtMs = new Map<string, number>();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#book = new PoolBook(options);
    this.#releases = new Releases(
      { ...options, released: (claim) => this.#book.release(claim.spec.poolUID, claim.ip) },
      options,
    );
  }

  /** The claims of one Pod on this node. */
  claimsOf(podUid: string): readonly Claim[] {
    return [...this.#own.values()].filter((claim) => claim.spec.podUID === podUid);
  }

  /** Every claim of this node that is known here. */
  claims(): readonly Claim[] {
    return [...this.#own.values()];
  }

  /** How many releases are decided and not done. */
  get pendingReleases(): number {
    return this.#releases.pending;
  }

  /** A claim that is known from elsewhere: a sandbox record after a restart. */
  remember(claim: Claim): void {
    this.#own.set(keyOfClaim(claim), claim);
    this.#book.adopt(claim.spec.poolUID, claim.ip);
  }

  /**
   * One address of the family for the holder, from the first candidate that has one. A claim that the holder already has
   * is taken again. Throws POOL_EXHAUSTED where every candidate is used up, else what the API server answered.
   */
  async claim(request: ClaimRequest, o: Signal): Promise<Claimed> {
    const found = await this.#existing(request, o);
    if (found !== undefined) return { claim: found, fresh: false };
    const exhausted: { readonly pool: PoolView; readonly evidence: Evidence }[] = [];
    for (const pool of request.pools) {
      const claim = await this.#claimIn(pool, request, o);
      if ("uid" in claim) return { claim, fresh: true };
      exhausted.push({ pool, evidence: claim });
    }
    const { message, fix } = formatExhausted(request.holder.nic, request.family, exhausted);
    throw new SpiderError("POOL_EXHAUSTED", message, { details: { fix } });
  }

  /** Decides the release; it is finished in the background, whatever the API server's state. */
  release(claim: Claim, reason: ReleaseReason): void {
    const key = keyOfClaim(claim);
    if (this.#own.get(key)?.uid === claim.uid) this.#own.delete(key);
    this.#options.intents.remove(key);
    this.#releases.add(claim, reason);
  }

  /** For the undo of a claim that may or may not have been made: finds out and releases. */
  abandon(podUid: string, nic: string, family: Family): void {
    const key = claimKey(podUid, nic, family);
    const own = this.#own.get(key);
    if (own !== undefined) this.release(own, { why: "the ADD failed", evidence: [] });
    else if (this.#options.intents.read(key) !== undefined) void this.#resolveLimbo(key, podUid, nic);
  }

  /** Resolves when every decided release is done. */
  drained(): Promise<void> {
    return this.#releases.drained();
  }

  /** After a restart: reads the claims that sandbox records name, and takes those of this node as ours. */
  async recall(names: Iterable<string>, o: Signal): Promise<void> {
    for (const name of names) {
      const claim = await this.#byName(name, o);
      if (claim?.spec.purpose === "Pod" && claim.spec.node === this.#options.node) this.remember(claim);
    }
  }

  /**
   * Compares the ledger's claims of this node with what is known here, once: claims that nobody knows and that are old
   * enough are deleted. `known` tells of claims named in sandbox records.
   */
  async audit(known: ReadonlySet<string>, o: Signal): Promise<void> {
    const { client, clock, node, intents } = this.#options;
    const onTheirWay = intents.names();
    const objects = client.listAll(spiderIPAddresses, { ...o, labelSelector: `node=${labelValue(node)}` });
    for await (const object of objects) {
      const claim = claimOf(object);
      if (claim === undefined || claim.spec.node !== node || claim.spec.purpose !== "Pod") continue;
      if (this.#own.get(keyOfClaim(claim))?.uid === claim.uid || onTheirWay.has(claim.name)) continue;
      if (known.has(claim.name)) this.remember(claim);
      else if (ageMs(object, clock) > leakAgeMs) {
        this.release(claim, {
          why: "no sandbox of this node uses it",
          evidence: [`container ${claim.spec.containerID ?? "none"}`],
        });
      }
    }
  }

  stop(): void {
    this.#book.stop();
  }

  /** What the holder already has: in memory, or by a hint that an earlier create left. */
  async #existing({ holder, family, pools }: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    const key = claimKey(holder.pod.uid, holder.nic, family);
    const hint = this.#options.intents.read(key);
    const own = this.#own.get(key) ?? (hint === undefined ? undefined : await this.#byName(hint, o));
    const pool = own && pools.find((candidate) => isMine(own.spec, holder, candidate));
    if (own !== undefined && pool !== undefined) return this.#attach(own, holder, o);
    if (own !== undefined && own.spec.podUID === holder.pod.uid && own.spec.nic === holder.nic) {
      this.release(own, { why: "its pool is no longer a candidate", evidence: [`pool ${own.spec.pool}`] });
    }
    return undefined;
  }

  async #claimIn(pool: PoolView, request: ClaimRequest, o: Signal): Promise<Claim | Evidence> {
    const { clock } = this.#options;
    const chooser = await this.#book.chooser(pool, () => this.#heldIn(pool), o);
    for (;;) {
      const choice = chooser.next(clock.monotonicMs());
      if (choice.kind === "exhausted") {
        if (!(await this.#refresh(pool, o))) return choice.evidence;
        continue;
      }
      const claim = await this.#tryCreate(choice.ip, pool, request, chooser, o);
      if (claim !== undefined) return claim;
    }
  }

  /** Undefined: the address is taken. Every other failure gives the address back to the chooser. */
  async #tryCreate(
    ip: Ip,
    pool: PoolView,
    request: ClaimRequest,
    chooser: Chooser,
    o: Signal,
  ): Promise<Claim | undefined> {
    const { clock, intents } = this.#options;
    const { holder, family } = request;
    const key = claimKey(holder.pod.uid, holder.nic, family);
    try {
      using _slot = await this.#creates.enter(holder.pod.namespace, o);
      intents.write(key, claimName(ip));
      const claim = await this.#create(ip, pool, request, o);
      if (claim === undefined) chooser.meet(ip, clock.monotonicMs());
      else this.#own.set(key, claim);
      intents.remove(key);
      return claim;
    } catch (error) {
      if (surelyUnchanged(error)) {
        intents.remove(key);
        chooser.release(ip);
      }
      throw error;
    }
  }

  /** Creates, repeating the same name until the outcome is certain: ours, or (undefined) somebody else's. */
  async #create(ip: Ip, pool: PoolView, { holder, answer }: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    const { client, clock, node, bootId, log } = this.#options;
    const draft = claimDraft(ip, pool, holder, { node, bootId, since: clock.wall(), answer: answer(pool, ip) });
    for (let attempt = 0, uncertain = false; ; attempt++) {
      let failure: unknown;
      try {
        return claimOf(await client.create(spiderIPAddresses, draft, o));
      } catch (error) {
        failure = error;
      }
      if (hasReason(failure, "AlreadyExists")) {
        if (!uncertain) return undefined;
        const found = await this.#byName(draft.metadata.name, o);
        if (found !== undefined)
          return isMine(found.spec, holder, pool) ? await this.#attach(found, holder, o) : undefined;
      } else if (!surelyUnchanged(failure)) uncertain = true;
      else if (!isRetryable(failure)) throw failure;
      log.debug({ ip: formatIp(ip), err: formatError(failure) }, "the create of a claim is repeated");
      // Past the deadline the last failure says more than the deadline does.
      await clock.sleep(backoffMs(attempt, { firstMs: 50, maxMs: 2_000 }), o).catch(() => {
        throw failure;
      });
    }
  }

  /** The claim with this sandbox as its holder. Always writes when the sandbox is another one, so that a late delete of an older view fails. */
  async #attach(claim: Claim, holder: Holder, o: Signal): Promise<Claim> {
    const { client, bootId } = this.#options;
    if (claim.spec.containerID === holder.containerId && this.#own.get(keyOfClaim(claim))?.uid === claim.uid)
      return claim;
    const object = {
      metadata: {
        name: claim.name,
        uid: claim.uid,
        resourceVersion: claim.resourceVersion,
        labels: { pool: labelValue(claim.spec.pool), node: labelValue(this.#options.node) },
      },
      spec: { ...claim.spec, containerID: holder.containerId, bootID: bootId },
    };
    const updated = claimOf(await client.update(spiderIPAddresses, object, o));
    if (updated === undefined) throw new TypeError(`'${claim.name}' must be the name of an address`);
    this.remember(updated);
    this.#options.intents.remove(keyOfClaim(updated));
    return updated;
  }

  async #byName(name: string, o: Signal): Promise<Claim | undefined> {
    const object = await this.#options.client.get(spiderIPAddresses, { name }, o);
    return object && claimOf(object);
  }

  /** Looks authoritatively who holds what in the pool, unless that was done a moment ago. False: nothing new was learnt. */
  async #refresh(pool: PoolView, o: Signal): Promise<boolean> {
    const { client, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - (this.#listedAtMs.get(pool.uid) ?? Number.NEGATIVE_INFINITY) < listEveryMs) return false;
    this.#listedAtMs.set(pool.uid, nowMs);
    const used: Ip[] = [];
    const labelSelector = `pool=${labelValue(pool.name)}`;
    for await (const { metadata } of client.listAll(metadataOf(spiderIPAddresses), { ...o, labelSelector })) {
      const ip = parseClaimName(metadata.name);
      if (ip !== undefined && ip.family === pool.family) used.push(ip);
    }
    this.#book.setUsed(
      pool.uid,
      IpSet.of(
        pool.family,
        used.map((ip) => ({ first: ip, last: ip })),
      ),
    );
    return true;
  }

  *#heldIn(pool: PoolView): Generator<Ip> {
    for (const { spec, ip } of this.#own.values()) if (spec.poolUID === pool.uid) yield ip;
  }

  /** A create was cut off: whether it took effect is looked up until that is certain, and what it made is released. */
  async #resolveLimbo(key: string, podUid: string, nic: string): Promise<void> {
    const { clock, intents, log, signal } = this.#options;
    for (const afterMs of limboLooksMs) {
      try {
        await clock.sleep(afterMs, { signal });
        const hint = intents.read(key);
        if (hint === undefined || this.#own.has(key)) return;
        const found = await this.#byName(hint, { signal });
        if (found === undefined) continue; // The server may still be at it: a request lives 4 s there.
        if (found.spec.podUID === podUid && found.spec.nic === nic) {
          this.release(found, { why: "the ADD was cut off while it was claimed", evidence: [] });
        } else intents.remove(key);
        return;
      } catch (err) {
        if (signal.aborted) return;
        log.warn({ err: formatError(err) }, "the outcome of a claim is still unknown");
      }
    }
    intents.remove(key);
  }
}

function keyOfClaim({ spec, ip }: Claim): string {
  return claimKey(spec.podUID ?? "", spec.nic ?? "", ip.family);
}

function ageMs({ metadata }: SpiderIPAddress, clock: Clock): number {
  return clock.wall().getTime() - Date.parse(metadata.creationTimestamp ?? "");
}
