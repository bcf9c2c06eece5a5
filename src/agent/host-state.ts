import { type Clock, formatError, type Logger, type Signal } from "#base";
import { formatPrefix, hostPrefix } from "#ip";
import { monitor, type Netns, type NetworkEvent } from "#linux";
import { hostVethName, nodeRulePreference, ovsEndpointOf } from "#plugins";
import { type Chain, recordedResult } from "./chain.ts";
import type { OvsClients } from "./ovs-clients.ts";
import { recordedNetwork } from "./recording.ts";
import { isSandboxThere, type RecordedNetwork, type Records, type SandboxRecord } from "./records.ts";

/** A Pod that ends takes its routes and ports along: only what is missing after this long was taken by somebody else. */
const settleMs = 300;
/** The kernel's own tables: rules and routes in them are none of ours. */
const kernelTables = new Set([253, 254, 255]);

interface HostStateOptions {
  readonly records: Records;
  readonly chain: Pick<Chain, "restore">;
  readonly host: Netns;
  /** Of the node's usual database and of those that networks have of their own. */
  readonly ovs: Pick<OvsClients, "each" | "get" | "list">;
  /** Runs `act` while no call of the sandbox is at work: what a DEL takes down must not be put back. */
  readonly exclusive: (containerId: string, act: () => Promise<void>, o: Signal) => Promise<void>;
  /** Resolves when all that a plugin needs to know of the cluster is known. */
  readonly synced: (o: Signal) => Promise<void>;
  /** Told where a port was missing, and is back. */
  readonly fault?: (kind: "veth-without-port") => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What may be missing since the last repair. */
interface Losses {
  all: boolean;
  readonly destinations: Set<string>;
  /** Interfaces that were seen down. */
  readonly links: Set<string>;
  /** Open vSwitch's picture has changed. */
  ports: boolean;
}

/**
 * Puts back what running Pods have on their node when somebody else takes it: rules and routes (`ip rule flush`, a
 * restart of systemd-networkd), the state of their links, ports of Open vSwitch (whose database was made anew). Told by
 * the kernel and by the database, and looked at once at the start; repaired by the plugins that made it.
 */
export class HostState {
  readonly #options: HostStateOptions;
  /** The agent may have been away when it happened. */
  #losses: Losses = { ...noLosses(), all: true };
  #repairing: Promise<void> | undefined;
  /** Sandboxes whose last repair failed: said once, not with every change. */
  readonly #failing = new Set<string>();

  constructor(options: HostStateOptions) {
    this.#options = options;
  }

  async run({ signal }: Signal): Promise<void> {
    const { host, ovs, synced } = this.#options;
    const events = monitor(host, { topics: ["deletedRules", "deletedRoutes", "downLinks"], signal });
    await synced({ signal });
    ovs.each((one) => {
      const unsubscribe = one.changed(() => {
        this.#losses.ports = true;
        this.#repair(signal);
      });
      signal.addEventListener("abort", unsubscribe, { once: true });
    });
    this.#repair(signal);
    for await (const event of events) if (this.#note(event)) this.#repair(signal);
  }

  /** True where the event may mean a loss. */
  #note(event: NetworkEvent): boolean {
    const { destinations, links } = this.#losses;
    if (event.kind === "overrun") this.#losses.all = true;
    else if (event.kind === "rule" && event.action === "delete" && event.rule.pref === nodeRulePreference) {
      this.#losses.all = true;
    } else if (event.kind === "route" && event.action === "delete" && !kernelTables.has(event.route.table)) {
      destinations.add(formatPrefix(event.route.dst));
    } else if (event.kind === "link" && event.action === "new" && !event.link.up) links.add(event.link.name);
    else return false;
    return true;
  }

  /** Soon, and once for all that happens meanwhile. */
  #repair(signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#repairing ??= this.#repairSoon(signal)
      .catch((err: unknown) => {
        if (!signal.aborted) this.#options.log.error({ err }, "the node's state could not be compared with its Pods");
      })
      .finally(() => {
        this.#repairing = undefined;
        const { all, destinations, links, ports } = this.#losses;
        if (all || ports || destinations.size > 0 || links.size > 0) this.#repair(signal);
      });
  }

  async #repairSoon(signal: AbortSignal): Promise<void> {
    const { records, clock, log, exclusive } = this.#options;
    await clock.sleep(settleMs, { signal });
    const losses = this.#losses;
    this.#losses = noLosses();
    const { rtnl } = this.#options.host;
    // Of hundreds of links that an ADD has just made and brought up, none is asked for again.
    for (const name of losses.links) if (rtnl.link(name)?.up !== false) losses.links.delete(name);
    for (const lost of records.list().filter((record) => this.#hasLost(record, losses))) {
      const { containerId } = lost;
      const restore = async () => {
        const record = records.read(lost);
        // What was missing may have been part of a call that was at work.
        if (record === undefined || !this.#hasLost(record, losses) || !isSandboxThere(record)) return;
        const hadPorts = this.#hasPorts(record);
        const made = await this.#restore(record, { signal });
        if (!hadPorts && this.#hasPorts(record)) this.#options.fault?.("veth-without-port");
        this.#failing.delete(containerId);
        if (made.length > 0) log.warn({ pod: record.pod, made }, "restored for a Pod: somebody else had removed it");
      };
      try {
        await exclusive(containerId, restore, { signal });
      } catch (err) {
        signal.throwIfAborted();
        if (this.#failing.has(containerId)) continue;
        this.#failing.add(containerId);
        log.warn({ containerId, err: formatError(err) }, "what a Pod has on its node could not be restored");
      }
    }
    for (const containerId of this.#failing) {
      if (!records.list().some((record) => record.containerId === containerId)) this.#failing.delete(containerId);
    }
  }

  /** Looks at everything soon: something is known to be missing. */
  look(signal: AbortSignal): void {
    this.#losses = { ...this.#losses, all: true };
    this.#repair(signal);
  }

  /** Which database a network has is only asked where none has the port: names follow from the container. */
  #hasPorts({ networks }: SandboxRecord): boolean {
    const { ovs } = this.#options;
    return networks.every((network) => {
      const plugin = network.plugins.find(({ type }) => type === "ovs");
      const isThere = (name: string) => ovs.list().some((one) => one.ports().has(name));
      if (plugin === undefined || footprintOf(network).links.every(isThere)) return true;
      return ovs.get(ovsEndpointOf(plugin)).state.kind !== "connected";
    });
  }

  #hasLost(record: SandboxRecord, { all, destinations, links, ports }: Losses): boolean {
    if (!record.complete || record.cut === true) return false;
    if (all) return true;
    return (
      (destinations.size > 0 &&
        record.networks.some((network) => footprintOf(network).destinations.some((one) => destinations.has(one)))) ||
      (links.size > 0 && hostLinksOf(record).some((name) => links.has(name))) ||
      (ports && !this.#hasPorts(record))
    );
  }

  /** Lines that say what was missing. */
  async #restore({ containerId, netns, pod, networks }: SandboxRecord, o: Signal): Promise<readonly string[]> {
    const made: string[] = [];
    for (const network of networks) {
      const result = recordedResult(network);
      if (result === undefined) continue;
      const { ifName, cniArgs, capabilityArgs } = network;
      const attachment = { containerId, netns: netns.path, pod: pod ?? undefined, ifName, args: new Map(cniArgs) };
      made.push(
        ...(await this.#options.chain.restore(recordedNetwork(network), { attachment, capabilityArgs }, result, o)),
      );
    }
    return made;
  }
}

function noLosses(): Losses {
  return { all: false, destinations: new Set(), links: new Set(), ports: false };
}

/** What a network that was added has on its node. */
interface Footprint {
  /** Its interfaces there. */
  readonly links: readonly string[];
  /** Its addresses as host routes: `172.18.30.131/32`. */
  readonly destinations: readonly string[];
}

/** A recorded network never changes, and with each change of Open vSwitch all of the node's are compared. */
const footprints = new WeakMap<RecordedNetwork, Footprint>();

function footprintOf(network: RecordedNetwork): Footprint {
  const known = footprints.get(network);
  if (known !== undefined) return known;
  const { interfaces = [], ips = [] } = recordedResult(network) ?? {};
  const footprint = {
    links: interfaces.filter(({ sandbox = "" }) => sandbox === "").map(({ name }) => name),
    destinations: ips.map(({ address }) => formatPrefix(hostPrefix(address.ip))),
  };
  footprints.set(network, footprint);
  return footprint;
}

/** The interfaces that a sandbox has on its node. */
export function hostLinksOf({ containerId, networks }: SandboxRecord): readonly string[] {
  return [hostVethName(containerId), ...networks.flatMap((network) => footprintOf(network).links)];
}

/** Those of them that are ports of Open vSwitch. */
export function ovsLinksOf({ networks }: SandboxRecord): readonly string[] {
  return networks
    .filter(({ plugins }) => plugins.some(({ type }) => type === "ovs"))
    .flatMap((network) => footprintOf(network).links);
}
