import { abortable, FairQueue, KeyedLock, type Signal, SpiderError } from "#base";
import { claimName, type Ip, tryParseClaimName } from "#ip";
import { type Evidence, formatExhausted, type PoolView, type Shortage } from "#ipam";
import {
  type Claim,
  claimDraft,
  claimKey,
  type Holder,
  isDetached,
  isHeld,
  isMine,
  keptKey,
  keyOfClaim,
  quarantined,
} from "../claims/claim.ts";
import { persist } from "../claims/persist.ts";
import {
  attachAgain,
  attachClaim,
  type Created,
  changeClaim,
  claimsOfNode,
  createClaim,
  echoMsMax,
  heldOfNode,
  readClaim,
} from "../claims/writes.ts";
import { type AuditWatcher, findLeaks } from "./audit.ts";
import { Inheritance } from "./inheritance.ts";
import { OwnClaims } from "./own-claims.ts";
import { type Page, PoolBook } from "./pool-book.ts";
import { type Ending, type ReleaseReason, Releases } from "./releases.ts";
import type { Claimed, ClaimRequest, LedgerOptions } from "./request.ts";
import { createsAtOnce } from "./turns.ts";
import { type OutcomeLook, UncertainWrites } from "./uncertain-writes.ts";

/** After so many collisions in a row, one list of the pool's claims is better than more guesses. */
const missesMax = 8;

interface CreateOptions extends Signal {
  /** An earlier create of the same name may have taken effect. */
  readonly open: boolean;
  /** Whether a sandbox already has the address, and only the claim was lost. */
  readonly isAgain?: boolean;
  /** How many more Pods want an address of the pool when the create is sent. @default 0 */
  readonly waiting?: () => number;
}

/**
 * The ledger, as one node writes it. Allocating is creating the object that is named after the address; releasing is deleting
 * exactly that object. What is in memory only makes guesses better and answers faster, and may be lost.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #book: PoolBook;
  readonly #releases: Releases;
  readonly #creates = new FairQueue(createsAtOnce);
  /** Locks for each key, because two sandboxes of one Pod may be added at the same time. */
  readonly #keys = new KeyedLock();
  readonly #recalled = Promise.withResolvers<void>();
  readonly #own = new OwnClaims();
  readonly #uncertain: UncertainWrites;
  readonly #inheritance: Inheritance;
  /** Until when an earlier create of the same name, whose answer was lost, may still take effect; by the claim's UID. */
  readonly #echoUntilMs = new Map<string, number>();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#book = new PoolBook(options);
    this.#releases = new Releases({ ...options, released: (claim, ending) => this.#ended(claim, ending) }, options);
    const look = (key: string, how: OutcomeLook) => this.#keys.run(key, () => this.#lookAtOutcome(key, how), how);
    this.#uncertain = new UncertainWrites({ ...options, look });
    this.#inheritance = new Inheritance(options, {
      own: this.#own,
      releases: this.#releases,
      release: (claim, reason) => this.release(claim, reason),
      keep: (claim) => this.#keep(claim),
      watchOutcome: (key) => this.#uncertain.watch(key),
    });
  }

  /** The claims of one Pod on this node. */
  claimsOf(podUid: string): readonly Claim[] {
    return this.#own.of(podUid);
  }

  /** The claims on this node of all Pods that have or had this name, `namespace/name`. */
  claimsNamed(podKey: string): readonly Claim[] {
    return this.#own.named(podKey);
  }

  /** All known claims of this node. */
  claims(): readonly Claim[] {
    return [...this.#own];
  }

  /** How many releases are decided but not done. */
  get pendingReleases(): number {
    return this.#releases.pending;
  }

  /**
   * Claims one address of the family for the holder: the address that it has, whatever became of its pool; otherwise the one
   * that is kept for it; otherwise one from the first pool that has any. Waits for `recall`. Throws POOL_EXHAUSTED if every pool
   * is used up, STICKY_HELD if another Pod still has the kept address, CLAIM_PENDING if an earlier create may still take effect,
   * and errors of the API server. If it throws, no undo is needed: what it may have created is found and released here.
   */
  async claim(request: ClaimRequest, o: Signal): Promise<Claimed> {
    const { holder, family } = request;
    await abortable(this.#recalled.promise, o.signal);
    const key = claimKey(holder.pod.uid, holder.nic, family);
    const act = () => this.#keys.run(key, () => this.#claim(key, request, o), o);
    // After a forced deletion, two Pods of one sticky name may be added at the same time. The later one inherits.
    return holder.sticky === undefined ? act() : this.#keys.run(keptKey(holder, family), act, o);
  }

  async #claim(key: string, request: ClaimRequest, o: Signal): Promise<Claimed> {
    const own = await this.#reattach(key, request.holder, o);
    if (own !== undefined) return { claim: own, fresh: false };
    await this.#releases.settled(key, o);
    const resumed = await this.#resume(key, request, o);
    if (resumed !== undefined) return { claim: resumed, fresh: true };
    await this.#options.open?.(o);
    const inherited = (await this.#reattach(key, request.holder, o)) ?? (await this.#inheritance.take(key, request, o));
    if (inherited !== undefined) return { claim: inherited, fresh: false };
    return { claim: await this.#choose(request, o), fresh: true };
  }

  /**
   * Decides that the holder no longer has the claim. The release is done in the background, however long the API server is
   * away. A sticky claim is detached: it is kept for the next Pod until the controller ends it with its owner.
   */
  release(claim: Claim, reason: ReleaseReason): void {
    const key = keyOfClaim(claim);
    const own = this.#own.get(key);
    if (own?.uid === claim.uid) {
      if (own.spec.containerID !== claim.spec.containerID) return; // It has passed to another sandbox of the Pod.
      this.#own.delete(key);
    }
    const afterMs = (this.#echoUntilMs.get(claim.uid) ?? 0) - this.#options.clock.monotonicMs();
    void this.#releases.add(claim, reason, { afterMs, ending: claim.spec.purpose === "Sticky" ? "detach" : "delete" });
  }

  /**
   * Sets an address aside because somebody else uses it. Nobody gets it before `until`, and the holder's next `claim` gets
   * another one. `mac` is the address of the host that answered, if that is known. If the write fails, it throws, and the
   * holder still has the claim.
   */
  async quarantine(claim: Claim, conflict: { readonly mac?: string; readonly until: Date }, o: Signal): Promise<void> {
    const key = keyOfClaim(claim);
    await this.#keys.run(
      key,
      async () => {
        await changeClaim(claim, (spec) => quarantined(spec, conflict), { ...this.#options, ...o });
        if (this.#own.get(key)?.uid === claim.uid) this.#own.delete(key);
        this.#lost(claim);
      },
      o,
    );
  }

  /** Reads from the API server whether this node has the claim for the Pod, and corrects what is known here. */
  async verify(name: string, podUid: string, o: Signal): Promise<"ours" | "missing" | "foreign"> {
    const { client, node } = this.#options;
    const found = await readClaim(client, name, o);
    if (found !== undefined && isHeld(found) && found.spec.node === node && found.spec.podUID === podUid) {
      const own = this.#own.get(keyOfClaim(found));
      const newer = own === undefined ? found : await attachAgain(found, own, { client, ...o });
      if (newer !== undefined) this.#keep(newer);
      return "ours";
    }
    for (const own of this.#own) {
      if (own.name !== name || own.uid === found?.uid) continue;
      this.#own.delete(keyOfClaim(own));
      if (found === undefined) this.#gone(own);
      else this.#lost(own);
    }
    return found === undefined ? "missing" : "foreign";
  }

  /** Claims an address again whose claim was lost while its sandbox is there. Undefined if somebody else has it. */
  reassert(ip: Ip, request: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    const { holder, family } = request;
    const [pool] = request.pools;
    if (pool === undefined) throw new RangeError("an address is claimed again from the pool that has it");
    const key = claimKey(holder.pod.uid, holder.nic, family);
    const how = { ...o, open: true, isAgain: true };
    const act = async () => this.#own.get(key) ?? (await this.#create(ip, pool, request, how));
    return this.#keys.run(key, act, o);
  }

  /** Releases addresses that are kept for a sticky holder although it asks for other pools now. Waits until they are released. */
  giveUpKept(names: readonly string[], holder: Holder, o: Signal): Promise<void> {
    return this.#inheritance.giveUp(names, holder, o);
  }

  /** Resolves when every decided release is done. */
  drained(): Promise<void> {
    return this.#releases.drained();
  }

  /**
   * Reads, after a start, the claims of this node among those that sandbox records name and those that an earlier process may
   * have made. No claim is answered before.
   */
  async recall(names: Iterable<string>, o: Signal): Promise<void> {
    const { client, node, intents } = this.#options;
    const hints = intents.all();
    for (const name of new Set([...names, ...hints.values()])) {
      const claim = await readClaim(client, name, o);
      if (claim === undefined || !isHeld(claim) || claim.spec.node !== node) continue;
      if (!this.#own.has(keyOfClaim(claim))) this.#keep(claim);
    }
    for (const key of hints.keys()) if (!this.#own.has(key)) this.#uncertain.watch(key);
    this.#recalled.resolve();
  }

  /** Resolves when `recall` has succeeded. */
  recalled({ signal }: Signal): Promise<void> {
    return abortable(this.#recalled.promise, signal);
  }

  /** Reads the claims that somebody else made for this node's Pods, in one list. From then on they are known here. */
  async takeUp(o: Signal): Promise<void> {
    const { client, node } = this.#options;
    for await (const claim of claimsOfNode(client, node, o)) this.#isNeeded(claim);
  }

  /** Compares the ledger's claims of this node with what is known here, and releases those that nobody needs. One list. */
  audit(o: Signal & AuditWatcher): Promise<void> {
    const { client, node } = this.#options;
    return this.#releaseLeaks(claimsOfNode(client, node, o), [...this.#own], o);
  }

  /** Like {@link audit}, but only for claims of these names, each of which is read. */
  inspect(names: readonly string[], o: Signal & AuditWatcher): Promise<void> {
    const { client, node } = this.#options;
    const known = [...this.#own].filter(({ name }) => names.includes(name));
    return this.#releaseLeaks(heldOfNode(client, node, names, o), known, o);
  }

  async #releaseLeaks(claims: AsyncIterable<Claim>, known: readonly Claim[], o: Signal & AuditWatcher): Promise<void> {
    const isOwn = (claim: Claim) => this.#own.get(keyOfClaim(claim))?.uid === claim.uid;
    const view = { known, isOwn, isNeeded: (claim: Claim) => this.#isNeeded(claim) };
    const evidence = ({ spec }: Claim) => [`container ${spec.containerID ?? "none"}`];
    for (const claim of await findLeaks(claims, view, { ...o, clock: this.#options.clock })) {
      const reason = { why: "no sandbox of this node uses it", evidence: evidence(claim) };
      this.release(claim, reason);
      o.leaked?.(claim, reason);
    }
  }

  /** Whether a claim of this node is known, may be under way, or is in use. A claim in use is known from then on. */
  #isNeeded(claim: Claim): boolean {
    const { bootId, intents, inUse } = this.#options;
    const key = keyOfClaim(claim);
    const own = this.#own.get(key);
    if (own?.uid === claim.uid || intents.read(key) === claim.name) return true;
    // The reboot ended its sandbox and removed the intent, and its Pod has another claim by now.
    if (own !== undefined && claim.spec.bootID !== bootId) return false;
    if (!inUse(claim)) return false;
    if (own === undefined) this.#keep(claim);
    return true;
  }

  /** The claim that the holder already has, attached to this sandbox. */
  async #reattach(key: string, holder: Holder, o: Signal): Promise<Claim | undefined> {
    const own = this.#own.get(key);
    if (own === undefined) return undefined;
    const claim = await attachClaim(own, holder, { ...this.#options, ...o });
    if (claim !== undefined) this.#keep(claim);
    else {
      if (this.#own.get(key)?.uid === own.uid) this.#own.delete(key);
      this.#gone(own);
    }
    return claim;
  }

  /** The claim of an earlier call whose outcome was unknown. Another address may be chosen only when that outcome is known. */
  async #resume(key: string, request: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    const { client, clock, intents } = this.#options;
    const name = intents.read(key);
    const ip = name === undefined ? undefined : tryParseClaimName(name);
    if (name === undefined || ip === undefined) return undefined;
    const found = await persist((signal) => readClaim(client, name, signal), { ...o, clock });
    const mine = found !== undefined && isMine(found.spec, request.holder);
    const claim = mine ? await attachClaim(found, request.holder, { ...this.#options, ...o }) : undefined;
    if (claim !== undefined) return this.#keep(claim);
    // Another holder's claim may be deleted before our earlier create takes effect.
    if (found !== undefined && (mine || isDetached(found) || !this.#uncertain.has(key))) {
      intents.remove(key);
      return undefined;
    }
    const pool = request.pools.find(({ set }) => set.contains(ip));
    if (found !== undefined || pool === undefined) throw pending(key, name);
    return this.#create(ip, pool, request, { ...o, open: true });
  }

  async #choose(request: ClaimRequest, o: Signal): Promise<Claim> {
    const again = await this.#createKept(request, o);
    if (again !== undefined) return again;
    const exhausted: Shortage[] = [];
    for (const pool of request.pools) {
      const page = this.#book.open(pool, () => this.#heldIn(pool));
      const claim = await page.drawn(() => this.#chooseIn(page, pool, request, o), o);
      if ("uid" in claim) return claim;
      exhausted.push({ pool, allowed: claim.allowed, aside: page.aside });
    }
    const { message, fix } = formatExhausted(request.holder.nic, request.family, exhausted);
    throw new SpiderError("POOL_EXHAUSTED", message, { details: { fix } });
  }

  /** Creates the claim again that the index names, if it was deleted meanwhile and one of the pools has the address. */
  async #createKept(request: ClaimRequest, o: Signal): Promise<Claim | undefined> {
    for (const name of request.kept?.names ?? []) {
      const ip = tryParseClaimName(name);
      const pool = ip && request.pools.find(({ set }) => set.contains(ip));
      if (ip === undefined || pool === undefined || this.#options.reserved(ip.family).contains(ip)) continue;
      const claim = await this.#create(ip, pool, request, { ...o, open: false });
      if (claim !== undefined) return claim;
    }
    return undefined;
  }

  async #chooseIn(page: Page, pool: PoolView, request: ClaimRequest, o: Signal): Promise<Claim | Evidence> {
    const { clock } = this.#options;
    const startMs = clock.monotonicMs();
    const asked = (act: (o: Signal) => Promise<boolean>) => persist(act, { ...o, clock });
    for (let misses = 0; ; ) {
      const found = await this.#try(page, pool, request, o);
      if (found === undefined) {
        if (++misses % missesMax === 0) await asked((signal) => page.look(signal));
      } else if ("uid" in found || !(await asked((signal) => page.recheck(found, startMs, signal)))) return found;
    }
  }

  /** Tries one guess. Undefined if somebody else has the address; evidence if there is no address left to guess. */
  async #try(page: Page, pool: PoolView, request: ClaimRequest, o: Signal): Promise<Claim | Evidence | undefined> {
    using _turn = await page.turns.enter(request.holder.pod.namespace, o);
    const choice = page.next(pool);
    if (choice.kind === "exhausted") return choice.evidence;
    const how = { ...o, open: false, waiting: () => page.waiting };
    return page.tried(choice.ip, await this.#create(choice.ip, pool, request, how));
  }

  /** Creates a claim; undefined if somebody else has the address. If the answer is lost, the outcome is watched. */
  async #create(ip: Ip, pool: PoolView, request: ClaimRequest, o: CreateOptions): Promise<Claim | undefined> {
    const { holder, family } = request;
    const key = claimKey(holder.pod.uid, holder.nic, family);
    const created = await this.#send(key, ip, pool, request, o);
    switch (created.kind) {
      case "ours":
        if (created.open) this.#echoUntilMs.set(created.claim.uid, this.#options.clock.monotonicMs() + echoMsMax);
        return this.#keep(created.claim);
      case "foreign":
        if (o.open && o.isAgain !== true && this.#uncertain.has(key)) throw pending(key, claimName(ip));
        this.#options.intents.remove(key);
        return undefined;
      case "failed":
        if (created.open) this.#uncertain.watch(key);
        else this.#neverMade(key, ip);
        throw created.error;
    }
  }

  async #send(
    key: string,
    ip: Ip,
    pool: PoolView,
    { holder, answer }: ClaimRequest,
    { signal, open, isAgain = false, waiting = () => 0 }: CreateOptions,
  ): Promise<Created> {
    const { client, clock, node, bootId, intents, open: before } = this.#options;
    try {
      // New claims wait until lost ones are restored. So a restored claim must not wait for a slot that they have.
      using _slot = isAgain ? undefined : await this.#creates.enter(holder.pod.namespace, { signal });
      const here = { node, bootId, since: clock.wall(), answer: answer(pool, ip), waiting: waiting() };
      const draft = claimDraft(ip, pool, holder, here);
      intents.write(key, claimName(ip));
      return await createClaim(draft, holder, { client, clock, signal, open, before: isAgain ? undefined : before });
    } catch (error) {
      return { kind: "failed", open, error };
    }
  }

  #keep(claim: Claim): Claim {
    this.#own.set(claim);
    this.#book.adopt(claim.spec.poolUID, claim.ip);
    return claim;
  }

  #ended(claim: Claim, ending: Ending): void {
    if (ending === "detach") this.#lost(claim);
    else this.#gone(claim);
  }

  #gone(claim: Claim): void {
    this.#forget(claim);
    this.#book.release(claim.ip);
  }

  /** To be called if the claim exists but is not ours any more. */
  #lost(claim: Claim): void {
    this.#forget(claim);
    this.#book.meet(claim.ip);
  }

  #forget(claim: Claim): void {
    const key = keyOfClaim(claim);
    if (this.#options.intents.read(key) === claim.name) this.#options.intents.remove(key);
    this.#echoUntilMs.delete(claim.uid);
  }

  #neverMade(key: string, ip: Ip | undefined): void {
    this.#options.intents.remove(key);
    if (ip !== undefined) this.#book.release(ip);
  }

  *#heldIn(pool: PoolView): Generator<Ip> {
    for (const { spec, ip } of this.#own) if (spec.poolUID === pool.uid) yield ip;
  }

  /** Looks whether a write whose answer was lost took effect. If so, the claim is released, because its ADD has failed. */
  async #lookAtOutcome(key: string, { signal, sinceMs, last, isCurrent }: OutcomeLook): Promise<boolean> {
    const { client, node, intents } = this.#options;
    const name = intents.read(key);
    if (name === undefined || this.#own.has(key) || !isCurrent()) return true;
    const found = await readClaim(client, name, { signal });
    if (found !== undefined && found.spec.node === node && keyOfClaim(found) === key) {
      this.release(found, { why: "the ADD was cut off while it was claimed", evidence: [] });
      return true;
    }
    // Our write may still be under way: it finds the claim absent or detached, or another holder's claim deleted by then.
    if (found === undefined || isDetached(found) ? !last : sinceMs < echoMsMax) return false;
    this.#neverMade(key, tryParseClaimName(name));
    return true;
  }
}

function pending(key: string, name: string): SpiderError {
  return new SpiderError("CLAIM_PENDING", `an earlier create of address ${name} may still take effect: try again`, {
    details: { key },
  });
}
