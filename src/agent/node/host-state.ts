import { type Clock, formatError, type Logger, type Signal } from "#base";
import { formatPrefix, hostPrefix } from "#ip";
import { monitor, type Netns, type NetworkEvent } from "#linux";
import { hostVethName, nodeRulePreference, ovsEndpointOf } from "#plugins";
import type { Chain } from "../sandboxes/chain.ts";
import { recordedNetwork } from "../sandboxes/recording.ts";
import {
  isSandboxThere,
  type RecordedNetwork,
  type Records,
  recordedResult,
  type SandboxRecord,
} from "../sandboxes/records.ts";
import type { OvsClients } from "./ovs-clients.ts";

/** A Pod that ends loses its routes and ports, too: only what is still missing after this long was removed by somebody else. */
const settleMs = 300;
/** The kernel's own tables; rules and routes in them are not ours. */
const kernelTables = new Set([253, 254, 255]);

interface HostStateOptions {
  readonly records: Records;
  readonly chain: Pick<Chain, "restore">;
  readonly host: Netns;
  /** Clients of the node's Open vSwitch database, and of databases that networks name themselves. */
  readonly ovs: Pick<OvsClients, "each" | "get" | "list">;
  /** Runs `act` while no call for the sandbox runs, so that nothing is restored that a DEL is removing. */
  readonly exclusive: (containerId: string, act: () => Promise<void>, o: Signal) => Promise<void>;
  /** Resolves when everything that plugins need to know about the cluster has been read. */
  readonly synced: (o: Signal) => Promise<void>;
  /** Called when a missing port was restored. */
  readonly fault?: (kind: "veth-without-port") => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What may have gone missing since the last repair. */
interface Losses {
  all: boolean;
  readonly destinations: Set<string>;
  /** Interfaces that were reported down. */
  readonly links: Set<string>;
  /** Open vSwitch's database has changed. */
  ports: boolean;
}

/**
 * Restores what running Pods have on their node if somebody else removes it: rules and routes (`ip rule flush`, a restart of
 * systemd-networkd), the state of links, ports of Open vSwitch (whose database was created again). Kernel and database report
 * changes, everything is checked once at the start, and the plugins that made it repair it.
 */
export class HostState {
  readonly #options: HostStateOptions;
  /** At the start everything may be missing: the agent did not see earlier changes. */
  #losses: Losses = { ...noLosses(), all: true };
  #repairing: Promise<void> | undefined;
  /** Sandboxes whose last repair failed, to log that once, not with every change. */
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

  /** True if the event may mean a loss. */
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

  /** Schedules one repair soon, for all that happens until then. */
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
    // Links of ended Pods are down before they go, by hundreds, and the kernel tells of none while it deletes some: 20 ms.
    const ofSandboxes = new Set(losses.links.size === 0 ? [] : records.list().flatMap(hostLinksOf));
    // Those that an ADD has just made and brought up need no check.
    for (const name of losses.links)
      if (!ofSandboxes.has(name) || rtnl.link(name)?.up !== false) losses.links.delete(name);
    for (const lost of records.list().filter((record) => this.#hasLost(record, losses))) {
      const { containerId } = lost;
      const restore = async () => {
        const record = records.read(lost);
        // A call may have been making or removing what was missing.
        if (record === undefined || !this.#hasLost(record, losses) || !isSandboxThere(record)) return;
        const hadPorts = this.#hasPorts(record);
        const made = await this.#restore(record, { signal });
        if (!hadPorts && this.#hasPorts(record)) this.#options.fault?.("veth-without-port");
        this.#failing.delete(containerId);
        if (made.length > 0)
          log.warn(
            { pod: record.pod, made },
            "made for a Pod that runs: somebody had removed it, or the settings have changed",
          );
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

  /** Schedules a check of everything: something is known to be missing. */
  look(signal: AbortSignal): void {
    this.#losses = { ...this.#losses, all: true };
    this.#repair(signal);
  }

  /** Looks up a network's database only if no database has the port: port names follow from the container. */
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

  /** Log lines that say what was missing. */
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

/** What an added network has on its node. */
interface Footprint {
  /** Its interfaces on the node. */
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

/** Those of its interfaces that are ports of Open vSwitch. */
export function ovsLinksOf({ networks }: SandboxRecord): readonly string[] {
  return networks
    .filter(({ plugins }) => plugins.some(({ type }) => type === "ovs"))
    .flatMap((network) => footprintOf(network).links);
}
