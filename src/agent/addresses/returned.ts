import type { Settings } from "#api";
import { abortable, type Clock, type Logger, type Signal, within } from "#base";
import type { PodRef } from "#cni";
import { claimName, formatIp, type Ip } from "#ip";
import type { PoolView } from "#ipam";
import { type EventRecorder, keyOf, type Pod, retry, type Store } from "#kube";
import { type Answer, type ClaimRequest, type Ledger, stickyOwnerOf } from "#ledger";
import { podState } from "../cluster/pods.ts";
import type { PoolCache } from "../cluster/pool-cache.ts";
import { ownIpam } from "../sandboxes/chain.ts";
import { ipamTypeOf } from "../sandboxes/foreign.ts";
import {
  isSandboxThere,
  type RecordedNetwork,
  type Records,
  recordedResult,
  type SandboxRecord,
} from "../sandboxes/records.ts";

/** How long the check of all sandboxes waits for running ADDs, some of which wait for the end of that check. */
const underWayMsMax = 3_000;

interface ReturnedOptions {
  readonly ledger: Ledger;
  readonly records: Records;
  readonly pools: Pick<PoolCache, "now" | "nextChange">;
  readonly pods: Store<Pod>;
  readonly events: Pick<EventRecorder, "record">;
  readonly settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">;
  /** Runs `act` while no call for the sandbox runs: a DEL removes the claim before the record. */
  readonly exclusive: (containerId: string, act: () => Promise<void>, o: Signal) => Promise<void>;
  /** Called for a Pod that has got its lost address back. */
  readonly claimed: (pod: Pod) => void;
  /** Sets the host's ends of the sandbox's links down. */
  readonly cut: (record: SandboxRecord) => void;
  /** Called for a fault that was repaired. */
  readonly fault?: (kind: "pod-without-claim" | "one-address-twice") => void;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Held {
  readonly ip: Ip;
  readonly network: RecordedNetwork;
  readonly answer: Answer;
}

/** An address of a sandbox without a claim. */
interface Lost {
  readonly record: SandboxRecord;
  readonly ref: PodRef;
  readonly held: Held;
  /** Its Pod, if the API shows it. */
  readonly shown: Pod | undefined;
}

/**
 * Checks the addresses of a node that comes back with running sandboxes after it was off, cut off or without agent: meanwhile the
 * controller may have released them, and other Pods may have them. Reads each claim with quorum. If it is gone and the Pod lives,
 * claims the address again. If another Pod has it, or the Pod is gone, cuts the sandbox off the network at once, so that two do
 * not use one address.
 */
export class Returned {
  readonly #options: ReturnedOptions;
  /** IDs of sandboxes with an address in no pool, as after a reinstallation: nobody can claim or get it. */
  readonly #poolless = new Set<string>();

  constructor(options: ReturnedOptions) {
    this.#options = options;
  }

  /** Whether every address of every sandbox was in a pool at the last check. */
  get isWhole(): boolean {
    return !this.#options.records.list().some(({ containerId }) => this.#poolless.has(containerId));
  }

  /** Runs {@link checkAll}, calls `checked`, and repeats both as pools appear, until every address of a sandbox is in one. */
  async begin({ signal }: Signal, checked: () => void = () => {}): Promise<void> {
    const { pools, clock } = this.#options;
    for (;;) {
      const change = pools.nextChange();
      await retry((o) => this.checkAll(o), { signal, clock, retryable: () => true });
      checked();
      if (this.isWhole) return;
      await abortable(change, signal);
    }
  }

  /** Checks every sandbox whose addresses the ledger's memory does not confirm. */
  async checkAll(o: Signal): Promise<void> {
    const { ledger, records } = this.#options;
    for (const record of records.list()) {
      const own = new Set(ledger.claimsOf(record.pod?.uid ?? "").map(({ name }) => name));
      if (heldBy(record).some(({ ip }) => !own.has(claimName(ip)))) await this.check(record, o);
    }
  }

  /**
   * Checks every sandbox, regardless of the ledger's memory. A sandbox with a running ADD is checked after it, possibly after
   * this has resolved. Throws if the API server does not answer.
   */
  async checkEvery({ signal }: Signal): Promise<void> {
    const { records, clock } = this.#options;
    const underWay: Promise<void>[] = [];
    for (const record of records.list()) {
      if (record.complete) await this.check(record, { signal });
      else underWay.push(retry((o) => this.check(record, o), { signal, clock, retryable: () => true }));
    }
    if (underWay.length === 0) return;
    await within(Promise.allSettled(underWay), underWayMsMax, { clock, signal });
  }

  /** Throws if the API server does not answer. */
  async check(known: SandboxRecord, o: Signal): Promise<void> {
    const { records, exclusive } = this.#options;
    const check = async () => {
      const record = records.read(known);
      if (record !== undefined) await this.#check(record, o);
    };
    await exclusive(known.containerId, check, o);
  }

  async #check(record: SandboxRecord, o: Signal): Promise<void> {
    const { ledger, pods } = this.#options;
    const { pod: ref } = record;
    this.#poolless.delete(record.containerId);
    if (!record.complete || record.cut === true || ref === null || !isSandboxThere(record)) return;
    for (const held of heldBy(record)) {
      const found = await ledger.verify(claimName(held.ip), ref.uid, o);
      if (found === "ours") continue;
      const pod = pods.get(keyOf(ref));
      // If a static Pod's mirror is missing, its sandbox is better evidence that it lives.
      const state = podState(pod, ref.uid);
      const lives = state !== "dead";
      const shown = state === "alive" ? pod : undefined;
      if (found === "missing" && lives && (await this.#claimAgain({ record, ref, held, shown }, o))) continue;
      this.#cut(
        record,
        held.ip,
        found === "missing" && !lives ? "the Pod is gone, and its address is free" : "its address has another holder",
      );
      return;
    }
  }

  /** True if the Pod has the address again, or if no pool has it, so that nobody can get it. */
  async #claimAgain({ record, ref, held, shown }: Lost, o: Signal): Promise<boolean> {
    const { ip, network, answer } = held;
    const { ledger, log, settings, pools } = this.#options;
    const pool = poolOf(ip, (await pools.now(o)).pools.values());
    if (pool === undefined) {
      this.#poolless.add(record.containerId);
      log.error(
        { ip: formatIp(ip), pod: record.pod },
        "the ledger has lost the address of a running Pod, and no IPPool has it",
      );
      return true;
    }
    const sticky = shown && stickyOwnerOf(shown, settings);
    const request: ClaimRequest = {
      family: ip.family,
      pools: [pool],
      holder: {
        pod: ref,
        nic: network.ifName,
        containerId: record.containerId,
        network: network.networkName,
        ...(sticky !== undefined && { owner: sticky.owner, sticky: sticky.sticky }),
      },
      answer: () => JSON.stringify(answer),
    };
    const claim = await ledger.reassert(ip, request, o);
    if (claim === undefined) return false;
    this.#options.fault?.("pod-without-claim");
    log.warn({ ip: formatIp(ip), pod: record.pod }, "the ledger had lost the address of a running Pod: claimed again");
    if (shown !== undefined) this.#options.claimed(shown);
    return true;
  }

  #cut(record: SandboxRecord, ip: Ip, why: string): void {
    const { records, events, cut, log } = this.#options;
    if (records.read(record) !== record) return; // A DEL or another ADD ran while the server was asked.
    this.#options.fault?.("one-address-twice");
    records.write({ ...record, cut: true }); // First, because links that are down would be restored otherwise.
    cut(record);
    const message = `cut off the network: ${why} (${formatIp(ip)}); the sandbox is left to the runtime`;
    log.error({ ip: formatIp(ip), pod: record.pod, containerId: record.containerId }, message);
    if (record.pod === null) return;
    const { namespace, name, uid } = record.pod;
    events.record(
      { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      { type: "Warning", reason: "AddressLost", message },
    );
  }
}

/** The addresses that the sandbox's networks have from the ledger. */
function heldBy({ networks }: SandboxRecord): readonly Held[] {
  return networks
    .filter(({ plugins }) => plugins.some((plugin) => ipamTypeOf(plugin) === ownIpam))
    .flatMap((network) => {
      const ips = recordedResult(network)?.ips ?? [];
      return ips.map(({ address, gateway }) => ({
        ip: address.ip,
        network,
        answer: { prefix: address.bits, ...(gateway !== undefined && { gw: formatIp(gateway) }) },
      }));
    });
}

function poolOf(ip: Ip, pools: Iterable<PoolView>): PoolView | undefined {
  return [...pools].find(({ family, set }) => family === ip.family && set.contains(ip));
}
