import type { NetworkAttachmentDefinition, SpiderIPPool, SpiderReservedIP, SpiderSubnet } from "#api";
import { claimAddress, claimName, type Family, type Ip, IpSet } from "#ip";
import type { PoolView } from "#ipam";
import { keyOf, type Pod, topControllerAmong } from "#kube";
import { type Claim, type Holder, isHeir, isHeld, isShrinkHold, shrinkHoldReason, stickyOwnerOf } from "#ledger";
import type { Facts, Installation } from "../explain/facts.ts";
import { decodePools, reservedBy } from "../explain/gather.ts";
import { holderOf, type PodScene } from "../explain/scene.ts";
import { subjectOf } from "../explain/subject.ts";
import type { PoolCounts, State, StoredWorkload } from "./state.ts";

/** An address that its holder lost, and why. */
export interface Freed {
  readonly claim: Claim;
  readonly why: string;
}

/** The key of a workload: `Deployment/default/web`. */
export function workloadKey({ kind, metadata }: Pick<StoredWorkload, "kind" | "metadata">): string {
  return `${kind}/${keyOf(metadata)}`;
}

/**
 * A simulated cluster. It starts as one that was read. Admission changes its objects, and says so by `changed`; claims change by
 * the methods of this class only. What follows from its objects (decoded pools, free addresses) is computed on demand.
 */
export class World {
  readonly pools: Map<string, SpiderIPPool>;
  readonly subnets: Map<string, SpiderSubnet>;
  readonly reservations: Map<string, SpiderReservedIP>;
  readonly claims = new Map<string, Claim>();
  readonly pods: Map<string, Pod>;
  readonly workloads: Map<string, StoredWorkload>;
  readonly namespaces: Map<string, State["namespaces"][number]>;
  readonly nodes: Map<string, State["nodes"][number]>;
  readonly nads: Map<string, NetworkAttachmentDefinition>;
  readonly installation: Installation;
  readonly freed: Freed[] = [];
  #decoded: Pick<Facts, "pools" | "brokenPools"> | undefined;
  #reserved: Map<Family, IpSet> = new Map();
  /** The addresses that new Pods can have, by pool. */
  #free: Map<string, IpSet> = new Map();
  /** Addresses with a claim. */
  readonly #taken = new Map<Family, IpSet>();
  /** Names of claims by Pod and by owner, because those of one Pod are needed often. */
  readonly #named = new Map<string, Set<string>>();
  #serial = 0;

  constructor(state: State) {
    const byName = <T extends { readonly metadata: { readonly name: string; readonly namespace?: string } }>(
      list: readonly T[],
    ) => new Map(list.map((one) => [keyOf(one.metadata), one]));
    this.pools = byName(state.pools);
    this.subnets = byName(state.subnets);
    this.reservations = byName(state.reservations);
    this.pods = byName(state.pods);
    this.workloads = new Map(state.workloads.map((one) => [workloadKey(one), one]));
    this.namespaces = byName(state.namespaces);
    this.nodes = byName(state.nodes);
    this.nads = byName(state.nads);
    this.installation = state.installation;
    for (const claim of state.claims) this.#index(claim);
    for (const family of [4, 6] as const) {
      const ips = state.claims.map(({ ip }) => ip).filter((ip) => ip.family === family);
      this.#taken.set(family, IpSet.ofIps(family, ips));
    }
  }

  /** To be called when pools, reservations or subnets were changed. */
  changed(): void {
    this.#decoded = undefined;
    this.#reserved = new Map();
    this.#free = new Map();
  }

  /** A UID that no object of the cluster has. */
  newUid(): string {
    this.#serial += 1;
    return `new-${this.#serial}`;
  }

  view(pool: string): PoolView | undefined {
    return this.#views.pools.get(pool);
  }

  get #views(): Pick<Facts, "pools" | "brokenPools"> {
    this.#decoded ??= decodePools([...this.pools.values()]);
    return this.#decoded;
  }

  reserved(family: Family): IpSet {
    const known = this.#reserved.get(family) ?? reservedBy([...this.reservations.values()])(family);
    this.#reserved.set(family, known);
    return known;
  }

  /** The addresses of the pool that new Pods can have. */
  free(pool: string): IpSet {
    const known = this.#free.get(pool);
    if (known !== undefined) return known;
    const view = this.view(pool);
    const free =
      view === undefined
        ? IpSet.empty(4)
        : view.set.subtract(this.#takenOf(view.family)).subtract(this.reserved(view.family));
    this.#free.set(pool, free);
    return free;
  }

  counts(pool: string): PoolCounts {
    const view = this.view(pool);
    if (view === undefined) return { total: 0n, used: 0n, free: 0n };
    return {
      total: view.set.size,
      used: view.set.intersect(this.#takenOf(view.family)).size,
      free: this.free(pool).size,
    };
  }

  /** The claims that name the pool, and all claims on its addresses. */
  claimsOf({ metadata }: SpiderIPPool): readonly Claim[] {
    const own = this.#under(`pool ${metadata.uid}`);
    const view = this.view(metadata.name);
    const used = view?.set.intersect(this.#takenOf(view.family));
    if (used === undefined || used.size === BigInt(own.filter(({ ip }) => used.contains(ip)).length)) return own;
    const strays = [...membersOf(used)].flatMap((ip) => this.claims.get(claimName(ip)) ?? []);
    return [...new Set([...own, ...strays])];
  }

  /** Gives the lowest free address of the pool to the holder. Undefined if there is none. */
  take(pool: string, holder: Holder, node: string): Claim | undefined {
    const view = this.view(pool);
    const ip = this.free(pool).first;
    if (view === undefined || ip === undefined) return undefined;
    const claim: Claim = {
      name: claimName(ip),
      ip,
      uid: this.newUid(),
      resourceVersion: "",
      spec: {
        format: 1,
        address: claimAddress(ip),
        purpose: holder.sticky === undefined ? "Pod" : "Sticky",
        pool,
        poolUID: view.uid,
        poolGeneration: view.generation,
        node,
        nic: holder.nic,
        podNamespace: holder.pod.namespace,
        podName: holder.pod.name,
        podUID: holder.pod.uid,
        ...(holder.owner !== undefined && { owner: holder.owner.text }),
      },
    };
    this.#put(claim);
    return claim;
  }

  /** Holds an address while its pool loses it, unless it is claimed. */
  hold(ip: Ip, { metadata }: SpiderIPPool): void {
    if (this.claims.has(claimName(ip))) return;
    const until = new Date(0).toISOString();
    const pool = { pool: metadata.name, poolUID: metadata.uid, poolGeneration: metadata.generation ?? 0 };
    const kept = { purpose: "Hold", reason: shrinkHoldReason, until } as const;
    const spec = { format: 1, address: claimAddress(ip), ...kept, ...pool };
    this.#put({ name: claimName(ip), ip, uid: this.newUid(), resourceVersion: "", spec });
  }

  /** Ends a hold. */
  unhold({ metadata }: SpiderIPPool, ips: IpSet): void {
    for (const claim of [...this.claims.values()]) {
      if (isShrinkHold(claim) && claim.spec.poolUID === metadata.uid && ips.contains(claim.ip)) this.#drop(claim);
    }
  }

  /** Gives the claim to the next Pod of its owner. */
  inherit(claim: Claim, holder: Holder): void {
    this.#index({ ...claim, spec: { ...claim.spec, podUID: holder.pod.uid, podName: holder.pod.name } });
  }

  /** Releases an address. */
  release(claim: Claim, why: string): void {
    if (this.#drop(claim)) this.freed.push({ claim, why });
  }

  /** Removes the Pod, and releases its addresses that do not outlive it. */
  end(pod: Pod, why: string): void {
    this.pods.delete(keyOf(pod.metadata));
    for (const claim of this.claimsOfPod(pod)) if (claim.spec.purpose === "Pod") this.release(claim, why);
  }

  /** The claims that the Pod has, for all of its NICs. */
  claimsOfPod({ metadata }: Pod): readonly Claim[] {
    return this.#under(`pod ${keyOf(metadata)}`).filter((claim) => isHeld(claim) && claim.spec.podUID === metadata.uid);
  }

  /** The holder for addresses of one NIC of the Pod. */
  holderOf(pod: Pod, nic: string): Holder {
    const { namespace = "", name, uid, ownerReferences = [] } = pod.metadata;
    return holderOf({ namespace, name, uid, ownerReferences }, nic, this.installation);
  }

  isSticky(pod: Pod): boolean {
    return stickyOwnerOf(pod, this.installation.settings) !== undefined;
  }

  /** The claims that are kept for one NIC of the Pod. */
  keptFor(holder: Holder): readonly Claim[] {
    if (holder.sticky === undefined) return [];
    return this.#under(`owner ${holder.owner?.text}`).filter(({ spec }) => isHeir(spec, holder));
  }

  /** Everything that the Pod's ADD depends on. */
  sceneOf(pod: Pod): PodScene {
    const { namespace = "", name } = pod.metadata;
    return {
      ...this.#views,
      nodes: this.nodes,
      nads: this.nads,
      installation: this.installation,
      pod: subjectOf({ namespace, name }, pod, []),
      namespace: this.namespaces.get(namespace),
      owner: this.ownerOf(pod),
    };
  }

  /** The Pod's top controller. */
  ownerOf(pod: Pod) {
    return topControllerAmong(pod, ({ kind }, ref) =>
      this.workloads.get(workloadKey({ kind, metadata: ref as never })),
    );
  }

  #takenOf(family: Family): IpSet {
    return this.#taken.get(family) ?? IpSet.empty(family);
  }

  #put(claim: Claim): void {
    const { ip } = claim;
    this.#index(claim);
    this.#taken.set(ip.family, this.#takenOf(ip.family).add(ip));
    for (const [name, free] of this.#free) if (free.contains(ip)) this.#free.set(name, free.remove(ip));
  }

  /** False if there is no such claim. */
  #drop(claim: Claim): boolean {
    if (!this.claims.delete(claim.name)) return false;
    this.#taken.set(claim.ip.family, this.#takenOf(claim.ip.family).remove(claim.ip));
    for (const [pool, free] of this.#free) {
      const view = this.view(pool);
      if (view?.set.contains(claim.ip) === true && !this.reserved(view.family).contains(claim.ip)) {
        this.#free.set(pool, free.add(claim.ip));
      }
    }
    return true;
  }

  #index(claim: Claim): void {
    this.claims.set(claim.name, claim);
    const { podNamespace: namespace = "", podName, owner } = claim.spec;
    const keys = [
      `pool ${claim.spec.poolUID}`,
      podName && `pod ${keyOf({ namespace, name: podName })}`,
      owner && `owner ${owner}`,
    ];
    for (const key of keys.filter((one) => one !== undefined)) {
      this.#named.set(key, (this.#named.get(key) ?? new Set()).add(claim.name));
    }
  }

  #under(key: string): readonly Claim[] {
    const names = [...(this.#named.get(key) ?? [])];
    return names.flatMap((name) => this.claims.get(name) ?? []);
  }
}

/** Every address of the set, ascending. */
export function* membersOf(ips: IpSet): Generator<Ip, void, undefined> {
  for (let index = 0n; index < ips.size; index++) yield ips.nth(index) as Ip;
}
