import type { Settings } from "#api";
import { type Clock, hasCode, type Signal, SpiderError, type Steps, within } from "#base";
import {
  type AddressConflict,
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  type Ipam,
  type PluginConfig,
  type PodRef,
  type Probe,
} from "#cni";
import { claimName, type Family, formatIp, type Ip, sameIp } from "#ip";
import {
  asksForOwner,
  attachRoutes,
  decide,
  masterOf,
  networkPools,
  parseRoutesAnnotation,
  routesOf,
  type SelectionInput,
  selectionFacts,
} from "#ipam";
import { type KubeObject, keyOf, type Node, type Pod, type Store, type TopControllers } from "#kube";
import {
  type Claim,
  type Claimed,
  type ClaimRequest,
  type Holder,
  type Ledger,
  type StickyOwner,
  stickyOwnerOf,
  type Wanted,
  wantedOf,
} from "#ledger";
import { addressesOfStatus, netAttachDefOf, networkStatusAnnotation, slotOf } from "#multus";
import { podState, uidOf } from "../cluster/pods.ts";
import type { PoolCache, PoolsNow } from "../cluster/pool-cache.ts";
import { ownIpam } from "../sandboxes/chain.ts";
import { ipamTypeOf } from "../sandboxes/foreign.ts";
import { addressed, formatAnswer } from "./answer.ts";
import type { Endpoints } from "./endpoints.ts";
import { ForeignIpam } from "./foreign-ipam.ts";

interface IpamOptions {
  readonly ledger: Ledger;
  readonly pools: PoolCache;
  readonly pods: Store<Pod>;
  /** The Pod of a call, even if the watch does not show it yet. Throws if it is not alive. */
  readonly findPod: (ref: PodRef, o: Signal) => Promise<Pod>;
  /** The metadata of a namespace, even if the watch does not show it yet. */
  readonly namespaceOf: (name: string, o: Signal) => Promise<KubeObject | undefined>;
  readonly nodes: Store<Node>;
  readonly owners: TopControllers;
  /** Resolves when new addresses may be given. */
  readonly open: (o: Signal) => Promise<void>;
  readonly endpoints: Endpoints;
  readonly clock: Clock;
  /** Whether there is a sandbox of the Pod with this UID, other than the given one. */
  readonly hasSandbox: (podUid: string, except: string) => boolean;
  /** Whether a sandbox of the Pod with this UID has a NIC with this MAC address. */
  readonly hasMac: (podUid: string, mac: string) => boolean;
  readonly node: string;
  /** The addresses of the host's interface whose virtual function a NIC is, by the function's PCI address. */
  readonly masterAddresses: (device: string) => readonly Ip[];
  /** Called if an ADD waits for the pool of its Pod's application. */
  readonly waits: () => void;
  /** How long it waits. @default 50,000 */
  readonly autoPoolWaitMs?: number;
  /** The install namespace, for a `multusName` or cluster network that names no namespace. */
  readonly namespace: string;
  /** `name` or `namespace/name` of the cluster's default network; "" if there is none. */
  readonly clusterNetwork: string;
  readonly families: readonly Family[];
  readonly settings: Settings;
}

/** How long an address that a foreign host uses is in quarantine. */
const quarantineMs = 300_000;
/** Default of how long an ADD waits for its application's pool; the call's deadline may be earlier. Then the kubelet retries. */
const autoPoolWaitMsDefault = 50_000;
/** How long an ADD waits until its application's pool, which is used up, grows: new replicas may come before it does. */
const autoPoolGrowthMs = 5_000;
/** How often an ADD decides again because a pool was changed meanwhile. */
const triesMax = 3;

/** The end of the quarantine of an address that is found in use now. */
export function quarantineEnd(clock: Clock): Date {
  return new Date(clock.wall().getTime() + quarantineMs);
}

/** Address management by the ledger if `ipam.type` is `spiderpool`, otherwise by the plugin of that name. */
export function createIpam(options: IpamOptions): (config: PluginConfig) => Ipam | undefined {
  return (config) => {
    const { raw } = config;
    const type = ipamTypeOf(raw);
    if (type === undefined) return undefined;
    if (type !== ownIpam) return new ForeignIpam(type, config);
    return new LedgerIpam(options, config);
  };
}

class LedgerIpam implements Ipam {
  readonly #options: IpamOptions;
  readonly #network: SelectionInput["network"];
  readonly #networkName: string;
  /** With `match_master_subnet`, the PCI address of the NIC's virtual function. */
  readonly #master: string | undefined;

  constructor(options: IpamOptions, { raw }: PluginConfig) {
    this.#options = options;
    this.#network = networkPools(raw);
    this.#networkName = String(raw["name"] ?? "");
    this.#master = masterOf(raw);
  }

  async allocate(attachment: Attachment, steps: Steps, probe?: Probe): Promise<CniResult> {
    const { plan, claims } = await this.#claimAll(attachment, steps, probe);
    const { sticky, routes } = plan;
    // The next Pod finds its kept addresses only by the endpoint. So that is written before the Pod can have the address.
    if (sticky !== undefined) {
      await steps.run("claim", (o) => this.#index(plan, attachment, o), { of: `${attachment.ifName}/index` });
    }
    const addresses = attachRoutes(claims.map(addressed), routes);
    return {
      interfaces: [],
      ips: addresses.map(({ address, gateway }) => ({ address, ...(gateway !== undefined && { gateway }) })),
      routes: addresses.flatMap((one) => routesOf(one)),
    };
  }

  async replace(attachment: Attachment, { ip, mac }: AddressConflict, steps: Steps): Promise<CniResult> {
    const { ledger, clock, pods } = this.#options;
    const uid = attachment.pod && uidOf(attachment.pod, pods.get(keyOf(attachment.pod)));
    const claim = ledger.claimsOf(uid ?? "").find((one) => one.spec.nic === attachment.ifName && sameIp(one.ip, ip));
    if (claim !== undefined) {
      const until = quarantineEnd(clock);
      await steps.run("claim", (o) => ledger.quarantine(claim, { mac, until }, o), { of: attachment.ifName });
    }
    return this.allocate(attachment, steps);
  }

  isOwn({ pod }: Attachment, { mac }: AddressConflict): boolean {
    const { pods, hasMac } = this.#options;
    return pod !== undefined && hasMac(uidOf(pod, pods.get(keyOf(pod))), mac);
  }

  /** A Pod that is alive keeps its addresses, because the runtime may only be replacing its sandbox. */
  async release({ pod: ref, containerId, ifName }: Attachment, _o: Signal): Promise<void> {
    if (ref === undefined) return;
    const { ledger, pods, hasSandbox } = this.#options;
    const pod = pods.get(keyOf(ref));
    const uid = uidOf(ref, pod);
    // Nothing is known about the Pod before the first list. The reconciler looks again then.
    if (!pods.isSynced || podState(pod, uid) !== "dead" || hasSandbox(uid, containerId)) return;
    for (const claim of ledger.claimsOf(uid)) {
      if (claim.spec.nic !== ifName || claim.spec.containerID !== containerId) continue;
      ledger.release(claim, { why: "the sandbox of a dead Pod is gone", evidence: [`container ${containerId}`] });
    }
  }

  async check({ pod: ref, ifName }: Attachment, got: CniResult, o: Signal): Promise<void> {
    if (ref === undefined) return;
    const { ledger, pods } = this.#options;
    // Just after a start it is not known yet what is held: a runtime would take down what runs.
    await ledger.recalled(o);
    const pod = pods.get(keyOf(ref));
    const claims = ledger.claimsOf(uidOf(ref, pod)).filter(({ spec }) => spec.nic === ifName);
    const held = new Set(claims.map(({ ip }) => formatIp(ip)));
    const lost = got.ips.map(({ address }) => formatIp(address.ip)).filter((ip) => !held.has(ip));
    if (lost.length > 0) {
      throw new CniError(cniCodes.failed, `addresses of ${ifName} are no longer held by Pod ${keyOf(ref)}`, {
        details: { addresses: lost },
      });
    }
  }

  /** Claims both families or none. If a pool was changed meanwhile and no longer has the address, decides again. */
  async #claimAll(
    attachment: Attachment,
    steps: Steps,
    probe: Probe | undefined,
  ): Promise<{ readonly plan: Plan; readonly claims: readonly Claim[] }> {
    const { ledger } = this.#options;
    for (let tries = 1; ; tries++) {
      const plan = await steps.run("select", (o) => this.#selectOnceMade(attachment, o), { of: attachment.ifName });
      const given = await steps.all(...plan.wanted.map((one) => this.#claim(one, plan, attachment, steps, probe)));
      const now = await this.#options.pools.now(steps);
      const lost = given.filter(
        ({ claim, fresh }) => fresh && now.pools.get(claim.spec.pool)?.set.contains(claim.ip) !== true,
      );
      if (lost.length === 0) return { plan, claims: given.map(({ claim }) => claim) };
      for (const { claim } of lost)
        ledger.release(claim, { why: "its pool was changed while it was claimed", evidence: [] });
      if (tries >= triesMax) throw poolChanged(lost.map(({ claim }) => claim));
    }
  }

  /** Waits for the pool of a new application: its first Pods may come before the controller has made the pool. */
  async #selectOnceMade(attachment: Attachment, o: Signal): Promise<Plan> {
    const { clock, pools, waits, autoPoolWaitMs = autoPoolWaitMsDefault } = this.#options;
    const untilMs = clock.monotonicMs() + autoPoolWaitMs;
    for (let looks = 1; ; looks++) {
      const change = pools.nextChange();
      try {
        return await this.#select(attachment, o);
      } catch (error) {
        if (!hasCode(error, "AUTO_POOL_PENDING")) throw error;
        if (looks === 1) waits();
        if (!(await this.#before(change, untilMs, o))) throw error;
      }
    }
  }

  /** False after the time or at the call's deadline. It does not throw then, because what the ADD waits for says more. */
  async #before(change: Promise<void>, untilMs: number, { signal }: Signal): Promise<boolean> {
    const { clock } = this.#options;
    try {
      return await within(change, Math.max(0, untilMs - clock.monotonicMs()), { clock, signal });
    } catch (error) {
      if (hasCode(error, "CNI_TRY_AGAIN")) return false;
      throw error;
    }
  }

  async #select(attachment: Attachment, o: Signal): Promise<Plan> {
    const { findPod, pools, families, settings, namespace: agentNamespace, clusterNetwork } = this.#options;
    const { node, nodes, namespaceOf } = this.#options;
    const ref = attachment.pod;
    if (ref === undefined) {
      throw new SpiderError("POD_UNKNOWN", "addresses are given to Pods only, and the call names none", {
        details: { container: attachment.containerId },
      });
    }
    const pod = await findPod(ref, o);
    const now = await pools.now(o);
    const { namespace = "", annotations = {} } = pod.metadata;
    const { ifName: nic, place } = attachment;
    const about = { namespace, annotations };
    const cluster = { namespace: agentNamespace, clusterNetwork };
    const input: SelectionInput = {
      nic,
      slot: place?.position ?? slotOf(nic, about),
      families,
      ...selectionFacts({
        pod: pod.metadata,
        namespace: (await namespaceOf(namespace, o))?.metadata,
        node: nodes.get(node)?.metadata,
        nodeName: node,
      }),
      owner: await this.#owner(pod, now, o),
      pools: now.pools,
      brokenPools: now.broken,
      network: this.#network,
      netAttachDef: place === undefined ? netAttachDefOf(nic, about, cluster) : place.nad,
      agentNamespace,
      masterAddresses: this.#master === undefined ? undefined : this.#options.masterAddresses(this.#master),
      settings,
    };
    const sticky = stickyOwnerOf(pod, settings);
    const kept = sticky && (await this.#options.endpoints.kept(pod, sticky, nic, o));
    const own = await this.#own(pod, uidOf(ref, pod), nic, o);
    const wanted = decide(input).map((decision) => wantedOf(decision, { own, kept }));
    return { pod, pools: now, sticky, kept, wanted, routes: parseRoutesAnnotation(annotations) };
  }

  /**
   * The claims that the Pod has for the NIC. This process may not know them, because a reboot removed the record or etcd was
   * restored to a time before their release. Then the Pod's network-status shows where to look. That costs a request only if
   * nothing is known and an earlier ADD of the Pod was answered.
   */
  async #own({ metadata }: Pod, uid: string, nic: string, o: Signal): Promise<readonly Claim[]> {
    const { ledger } = this.#options;
    const known = () => ledger.claimsOf(uid).filter(({ spec }) => spec.nic === nic);
    for (const ip of addressesOfStatus(metadata.annotations?.[networkStatusAnnotation], nic)) {
      if (known().some((claim) => claim.ip.family === ip.family)) continue;
      // If etcd was restored, a Pod from after the backup may still have the address, until all nodes have checked theirs.
      await this.#options.open(o);
      await ledger.verify(claimName(ip), uid, o);
    }
    return known();
  }

  /** The Pod's top controller, if it matters for the decision. It may cost a request. */
  #owner(pod: Pod, { pools }: PoolsNow, o: Signal): Promise<SelectionInput["owner"]> {
    return asksForOwner(pod.metadata, pools.values()) ? this.#options.owners.of(pod, o) : Promise.resolve(undefined);
  }

  async #claim(
    { family, nic, cleanGateway, named, candidates, refusal }: Wanted,
    plan: Plan,
    attachment: Attachment,
    steps: Steps,
    probe: Probe | undefined,
  ): Promise<Claimed> {
    const { ledger } = this.#options;
    const { pools, kept } = plan;
    const request: ClaimRequest = {
      family,
      pools: candidates.map((name) => pools.pools.get(name)).filter((pool) => pool !== undefined),
      holder: this.#holder(plan, attachment),
      answer: (pool) => formatAnswer(pool, { cleanGateway }),
      kept: kept && { names: kept[family], pools: named, probe },
    };
    return steps.run<Claimed>(
      "claim",
      (o) =>
        this.#claimOnceGrown(request, o).catch((error: unknown) => {
          throw refusal !== undefined && hasCode(error, "POOL_EXHAUSTED") ? refusal : error;
        }),
      {
        of: `${nic}/${family}`,
        undo: (done) => {
          if (done?.fresh) ledger.release(done.claim, { why: "the ADD failed", evidence: [] });
        },
      },
    );
  }

  /** Like `claim` of the ledger. If the pool of the Pod's application is used up, waits until it grows. */
  async #claimOnceGrown(request: ClaimRequest, o: Signal): Promise<Claimed> {
    const { ledger, clock } = this.#options;
    const isOfApplication = request.pools.length > 0 && request.pools.every(({ madeFor }) => madeFor !== undefined);
    const untilMs = clock.monotonicMs() + autoPoolGrowthMs;
    for (let now = request; ; ) {
      try {
        return await ledger.claim(now, o);
      } catch (error) {
        if (!isOfApplication || !hasCode(error, "POOL_EXHAUSTED")) throw error;
        const grown = await this.#grown(now.pools, untilMs, o);
        if (grown === undefined) throw error;
        now = { ...request, pools: grown };
      }
    }
  }

  /** Waits until one of the pools has other addresses, and returns the pools; undefined after the time. */
  async #grown(before: ClaimRequest["pools"], untilMs: number, o: Signal): Promise<ClaimRequest["pools"] | undefined> {
    const { pools } = this.#options;
    for (;;) {
      const change = pools.nextChange();
      const { pools: views } = await pools.now(o);
      const now = before.map((pool) => views.get(pool.name) ?? pool);
      if (now.some(({ set }, at) => before[at]?.set.equals(set) !== true)) return now;
      if (!(await this.#before(change, untilMs, o))) return undefined;
    }
  }

  /** Writes the index of a sticky Pod, so that the next one finds its addresses, and releases those that it no longer wants. */
  async #index(plan: Plan, attachment: Attachment, o: Signal): Promise<void> {
    const { ledger, endpoints } = this.#options;
    const { pod, kept, wanted } = plan;
    for (const family of [4, 6] as const) {
      if (kept === undefined || wanted.some((one) => one.family === family)) continue;
      await ledger.giveUpKept(kept[family], this.#holder(plan, attachment), o);
    }
    await endpoints.write(pod, o);
  }

  #holder({ pod, sticky }: Pick<Plan, "pod" | "sticky">, { pod: ref, ifName, containerId }: Attachment): Holder {
    const { namespace = "", name } = pod.metadata;
    const kept = sticky === undefined ? {} : { owner: sticky.owner, sticky: sticky.sticky };
    return {
      pod: { namespace, name, uid: uidOf(ref, pod) },
      nic: ifName,
      containerId,
      network: this.#networkName,
      ...kept,
    };
  }
}

/** The addresses that an ADD of one NIC needs, and where they may come from. */
interface Plan {
  readonly pod: Pod;
  readonly pools: PoolsNow;
  /** If the addresses outlive the Pod: the owner that keeps them, and what is kept for the NIC. */
  readonly sticky: StickyOwner | undefined;
  readonly kept: Readonly<Record<Family, readonly string[]>> | undefined;
  readonly wanted: readonly Wanted[];
  /** The routes that the Pod asks for, beside those of its pools. */
  readonly routes: ReturnType<typeof parseRoutesAnnotation>;
}

function poolChanged(claims: readonly Claim[]): SpiderError {
  const pools = claims.map(({ spec }) => spec.pool).join(", ");
  const message = `IPPool ${pools} was changed again and again while an address of it was claimed`;
  return new SpiderError("POOL_CHANGED", message, { details: { fix: "nothing: the ADD is tried again" } });
}
