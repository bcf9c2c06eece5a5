import { setImmediate } from "node:timers/promises";
import { type Clock, formatError, type Logger, type Signal, within } from "#base";
import { type Disagreement, eventOfFault, type FaultFacts, nodeFaults, type SandboxFact } from "#doctor";
import { parsePrefix } from "#ip";
import { type EventRecorder, nodeSubject } from "#kube";
import { type Link, type Netns, openNetns, readNetnsId } from "#linux";
import type { Ovs, OvsPort } from "#ovsdb";
import { nodeRulePreference, ovsEndpointOf } from "#plugins";
import type { CallMetrics } from "../http/metrics.ts";
import { isSandboxThere, recordedResult, type SandboxRecord } from "../sandboxes/records.ts";
import { hostLinksOf, ovsLinksOf } from "./host-state.ts";
import type { OvsClients } from "./ovs-clients.ts";

interface FaultsOptions {
  readonly node: string;
  readonly records: () => readonly SandboxRecord[];
  readonly host: Netns;
  /** Clients of the node's Open vSwitch database, and of databases that networks name themselves. */
  readonly ovs: Pick<OvsClients, "list" | "get">;
  /** Restores rules, routes, links and ports of a sandbox on its node. */
  readonly restore: () => void;
  /** Asks the ledger who has the sandbox's addresses, and cuts the sandbox off if somebody else has. */
  readonly verify: (record: SandboxRecord, o: Signal) => Promise<void>;
  readonly events: Pick<EventRecorder, "record">;
  readonly metrics: Pick<CallMetrics, "fault">;
  /** Resolves when no call is at work; undefined if none is. */
  readonly busy: () => Promise<void> | undefined;
  /** How often the node is checked. Two checks in a row must agree before a repair: at 20 s it comes within a minute. */
  readonly everyMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * A look keeps the thread for up to 25 ms on a node with 250 Pods, so it gives way to calls; for so long in all, as a node on which
 * calls never end is looked at, too.
 */
const giveWayMsMax = 10_000;

/**
 * Regularly compares what records, Open vSwitch, the kernel and the Pods' namespaces say about the same thing. A contradiction
 * that two looks see is a fault: it is counted and logged once, and repaired if that is safe.
 */
export class Faults {
  readonly #options: FaultsOptions;
  /** Contradictions in the last look, by key. */
  #before = new Set<string>();
  /** Faults that were logged and persist. */
  readonly #told = new Set<string>();

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  /** One look at the node: contradictions, which may still resolve themselves. */
  async look(): Promise<readonly Disagreement[]> {
    return nodeFaults(await this.#observe(() => undefined));
  }

  async run({ signal }: Signal): Promise<void> {
    const { clock, log, node, everyMs } = this.#options;
    for (;;) {
      await clock.sleep(everyMs, { signal });
      try {
        await this.reconcile({ signal });
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ node, err: formatError(error) }, "what the node has could not be compared");
      }
    }
  }

  /** Looks, and repairs what the previous look saw, too. Returns what both saw. */
  async reconcile(o: Signal): Promise<readonly Disagreement[]> {
    const found = nodeFaults(await this.#observe(this.#givingWay(o)));
    const confirmed = found.filter(({ key }) => this.#before.has(key));
    this.#before = new Set(found.map(({ key }) => key));
    for (const key of this.#told) if (!this.#before.has(key)) this.#told.delete(key);
    for (const fault of confirmed) {
      this.#tell(fault);
      await this.#mend(fault, o);
    }
    return confirmed;
  }

  #tell(fault: Disagreement): void {
    if (this.#told.has(fault.key)) return;
    this.#told.add(fault.key);
    const { events, metrics, log, node } = this.#options;
    const { kind, object, one, other } = fault;
    metrics.fault(kind);
    events.record(nodeSubject(node), eventOfFault(fault));
    log.warn({ kind, object, one: one.text, other: other.text }, "two sources disagree");
  }

  async #mend({ target }: Disagreement, o: Signal): Promise<void> {
    const { ovs, host, restore, records, verify, log } = this.#options;
    switch (target?.kind) {
      case "port":
        for (const one of ovs.list().filter(isConnected))
          if (one.ports().has(target.name)) await one.detach(target.name, o);
        log.info({ port: target.name }, "port removed: the namespace that it was made for is gone");
        return;
      case "host-links":
        restore();
        return;
      case "sandboxes":
        for (const record of records()) if (target.containerIds.includes(record.containerId)) await verify(record, o);
        return;
      case "route": {
        const { dst, dev, table } = target;
        host.rtnl.deleteRoute({ dst: parsePrefix(dst), dev, table }, { tolerate: ["ESRCH", "ENODEV"] });
        log.info({ route: dst, dev, table }, "route removed: no Pod of this node has the address");
        return;
      }
      default:
        return;
    }
  }

  /** Waits until no call is at work, each time that it is asked to, until the time for that is used up. */
  #givingWay({ signal }: Signal): () => Promise<unknown> | undefined {
    const { clock, busy } = this.#options;
    const untilMs = clock.monotonicMs() + giveWayMsMax;
    return () => {
      const atWork = busy();
      const leftMs = untilMs - clock.monotonicMs();
      return atWork === undefined || leftMs <= 0 ? undefined : within(atWork, leftMs, { clock, signal });
    };
  }

  /** Enters Pods one by one, so that calls run in between. Reads records at the same moment as what is compared with them. */
  async #observe(giveWay: () => Promise<unknown> | undefined): Promise<FaultFacts> {
    const { records, ovs, host, clock } = this.#options;
    const at = <T>(items: readonly T[]) => ({ items, readAt: clock.wall() });
    const found: FaultFacts["inside"]["items"][number][] = [];
    for (const record of records()) {
      await giveWay();
      if (isSandboxThere(record)) found.push(...insideOf(record));
      await setImmediate();
    }
    await giveWay();
    const inside = at(found);
    const links = host.rtnl.links();
    return {
      inside,
      sandboxes: at(records().map(sandboxFact)),
      links: at(links.map(({ name }) => name)),
      routes: at(this.#routes(links)),
      // Ports are read last: a port that appears meanwhile already has its record.
      ports: records().every((record) => areItsPortsKnown(record, ovs))
        ? at(
            ovs
              .list()
              .filter(isConnected)
              .flatMap((one) => [...one.ports().values()].flatMap(portFact)),
          )
        : undefined,
    };
  }

  #routes(links: readonly Link[]): FaultFacts["routes"]["items"] {
    const { rtnl } = this.#options.host;
    const tables = new Set(
      ([4, 6] as const).flatMap((family) =>
        rtnl
          .rules(family)
          .filter(({ pref, from, to, fwmark }) => pref === nodeRulePreference && !from && !to && fwmark === undefined)
          .map(({ table }) => table),
      ),
    );
    const byIndex = new Map(links.map((link) => [link.index, link]));
    return [...tables].flatMap((table) =>
      ([4, 6] as const).flatMap((family) =>
        rtnl.routes({ family, table }).map(({ dst, dev }) => {
          const link = byIndex.get(dev ?? 0);
          return { dst, table, dev: link?.name ?? "", toPod: link?.kind === "veth" };
        }),
      ),
    );
  }
}

function isConnected({ state }: Pick<Ovs, "state">): boolean {
  return state.kind === "connected";
}

/** Whether the databases of its own ports answer. Others may never do: some network names one that does not exist. */
function areItsPortsKnown({ networks }: SandboxRecord, ovs: FaultsOptions["ovs"]): boolean {
  try {
    return networks.every(({ plugins }) => {
      const plugin = plugins.find(({ type }) => type === "ovs");
      return plugin === undefined || isConnected(ovs.get(ovsEndpointOf(plugin)));
    });
  } catch {
    return false; // The file that names the database cannot be used any more.
  }
}

function sandboxFact(record: SandboxRecord): SandboxFact {
  const { pod, containerId, netns, complete, cut, networks } = record;
  const results = networks.flatMap((network) => recordedResult(network) ?? []);
  return {
    pod: pod === null ? containerId : `${pod.namespace}/${pod.name}`,
    containerId,
    netnsPath: netns.path,
    isThere: isSandboxThere(record),
    isAttached: complete && cut !== true,
    addresses: results.flatMap(({ ips }) => ips.map(({ address }) => address.ip)),
    ports: ovsLinksOf(record),
    hostLinks: hostLinksOf(record),
  };
}

/** Addresses on the interfaces inside; none if the namespace vanishes meanwhile. */
function insideOf({ containerId, netns: { path } }: SandboxRecord): FaultFacts["inside"]["items"] {
  try {
    using pod = openNetns(path);
    const nameOf = new Map(pod.rtnl.links().map(({ index, name }) => [index, name]));
    const usable = pod.rtnl.addresses().filter(({ scope }) => scope === 0);
    return usable.map(({ link, address }) => ({ containerId, ip: address.ip, nic: nameOf.get(link) ?? "" }));
  } catch {
    return [];
  }
}

function portFact({ name, owner }: OvsPort): readonly { name: string; netnsPath: string; hasNamespace: boolean }[] {
  if (owner === undefined) return [];
  return [{ name, netnsPath: owner.contNetns, hasNamespace: isNamespace(owner.contNetns) }];
}

function isNamespace(path: string): boolean {
  try {
    return readNetnsId(path) !== undefined;
  } catch {
    return false; // The path is something else now.
  }
}
