import { never, type Signal, type Steps, type Tasks, withTimeout } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  emptyResult,
  type Ipam,
  type PluginConfig,
  supportedVersions,
} from "#cni";
import { announce, type Netns, setTxChecksum, type VethEnd, type VethPair } from "#linux";
import type { Ovs, OvsPort, PortSpec } from "#ovsdb";
import { requirePrevious } from "../check.ts";
import { configureInterface, configureSilent } from "../configure.ts";
import {
  askingWhenOpen,
  checkGateways,
  type Detection,
  noDetection,
  refuseEmpty,
  withoutConflicts,
} from "../detection.ts";
import { derivedMac, hostLinkName } from "../names.ts";
import { freePodOf, openPod, openPodIfThere } from "../open-pod.ts";
import { makePairs, type PairSpec, removePairs, Together } from "../pairs.ts";
import type { Plugin } from "../plugin.ts";
import { silence } from "../silence.ts";
import { checkLinks, checkPort } from "./check.ts";
import {
  checkDeviceInfo,
  decodeOvsConfig,
  type OvsConfig,
  type OvsSettings,
  readFlatFile,
  settingsOf,
} from "./config.ts";
import { retriable } from "./retriable.ts";

interface OvsPluginOptions {
  /** The namespace of the bridges. */
  readonly host: Netns;
  /** The client for a configuration's socket_file; undefined: the node's usual database. */
  readonly ovsFor: (endpoint: string | undefined) => Ovs;
  /** The configuration's `ipam`; undefined if it has none. */
  readonly ipamFor: (config: PluginConfig) => Ipam | undefined;
  /** Owns work that goes on after an answer: deletion of links, announcements. */
  readonly tasks: Tasks;
  /** @default neither */
  readonly detection?: Detection;
  /** @default the usual places of ovs.conf */
  readonly flatFiles?: readonly string[];
}

/** The plugin `ovs`: a veth pair between the Pod and an existing Open vSwitch bridge. */
export function createOvsPlugin(options: OvsPluginOptions): Plugin<OvsConfig> {
  return new OvsPlugin(options);
}

/** From here on vswitchd takes longer to go through its ports than the database takes to answer. */
const manyPorts = 64;
/** From so many ADDs at once on a link waits for its turn for longer than vswitchd needs for a round. */
const crowd = 4;

/** A vswitchd that does not run must not hold up calls of the same sandbox for long. */
const restoreMsMax = 2_000;

class OvsPlugin implements Plugin<OvsConfig> {
  readonly type = "ovs";
  readonly versions = supportedVersions;
  readonly decode = decodeOvsConfig;
  readonly #options: OvsPluginOptions;
  /** How many ADDs are under way. */
  #adding = 0;

  constructor(options: OvsPluginOptions) {
    this.#options = options;
  }

  async add(c: OvsConfig, attachment: Attachment, steps: Steps, together = new Together()): Promise<CniResult> {
    this.#adding += 1;
    try {
      return await this.#add(c, attachment, steps, together);
    } finally {
      this.#adding -= 1;
    }
  }

  /** Begins port, link and claim, and lets them run at the same time: in the end an ADD waits for vswitchd. */
  async #add(c: OvsConfig, attachment: Attachment, steps: Steps, together: Together): Promise<CniResult> {
    const { host, ovsFor, ipamFor, detection = noDetection } = this.#options;
    const settings = settingsOf(c, this.#flat(c), attachment);
    checkDeviceInfo(c);
    const spec = portSpec(settings, attachment);
    const ovs = ovsFor(settings.socketFile);
    const of = attachment.ifName;
    const ipam = ipamFor(c.config);
    const specs = [pairSpec(spec.name, of, settings, ipam !== undefined), ...together.wanted];
    for (const { name } of specs) await host.rtnl.linkGone(name);
    const pod = await steps.run("link", () => freePodOf(attachment, steps), { of, blocking: true });

    const making = Promise.withResolvers<VethPair>();
    making.promise.catch(() => {}); // It may fail without anybody asking by the link.
    const open = async (o: Signal) => this.#carry(ovs, await making.promise, settings, o);
    const ask = askingWhenOpen(pod, of, { open, detection });
    const attach = () =>
      steps.run("port", (o) => retriable(ovs.attach(spec, o)), {
        of,
        undo: () => ovs.detach(spec.owner, { signal: never }).then(() => {}),
      });
    const makePair = async () => {
      const pairs = await makePairs(host, pod, specs);
      together.made(pairs);
      return pairs[0] as VethPair;
    };
    const make = () => steps.run("link", makePair, { of, blocking: true, undo: () => removePairs(host, specs) });
    const { port, link } = this.#inGoodOrder(ovs, attach, make);
    making.resolve(Promise.all([link, port]).then(([pair]) => pair));
    const claim = ipam?.allocate(attachment, steps, ask).then(refuseEmpty);
    claim?.catch(() => {}); // It may fail before it is waited for below.

    const [, pair, claimed] = await steps.all(port, link, claim ?? Promise.resolve(emptyResult));
    const settled =
      detection.conflicts && ipam !== undefined
        ? await withoutConflicts(claimed, { ask, ipam, attachment, steps })
        : claimed;
    const { ips, routes, dns } = settled;
    const mac = settings.mac ?? (ips[0] === undefined ? undefined : derivedMac(ips[0].address.ip));
    const act = () => {
      // A datapath in user space would forward packets whose checksum the Pod leaves to a network card.
      if (ovs.bridges().get(spec.bridge)?.datapathType === "netdev") setTxChecksum(pod, of, false);
      const configure = ipam === undefined ? configureInterface : configureSilent;
      configure(pod, pair.peer, { ips, routes, mac });
    };
    await steps.run("addresses", act, { of, blocking: true });
    const end = { ...pair.peer, mac: mac ?? pair.peer.mac };
    steps.beside("ofport", (o) => this.#inService(pair, { ovs, settings, pod, end, ips }, o), { of });
    return {
      interfaces: [
        { name: pair.name, mac: pair.mac },
        { name: of, mac: end.mac, sandbox: attachment.netns },
      ],
      ips: ips.map((ip) => ({ ...ip, interface: 1 })),
      routes,
      ...(dns !== undefined && { dns }),
    };
  }

  /**
   * Begins port and link in the order that costs vswitchd least. Usually the transaction is written just before the kernel makes
   * the links, so that vswitchd works on it meanwhile. What the Pod's other plugins need on the node is made and brought up in the
   * same moment: each later change would make vswitchd look at everything again.
   *
   * A vswitchd with many ports that has nothing to do should hear of the port first: while it goes through the others, the link
   * is made. If it heard of the link first, it would go through all ports for nothing, and the port would have to wait for that.
   *
   * In a crowd links take turns, and a port follows its link. Otherwise vswitchd would, in each round, try to open every port
   * whose link is missing, and write to the database that it could not (29 times for each of 50 ADDs at once).
   */
  #inGoodOrder<P, L>(
    ovs: Ovs,
    attach: () => Promise<P>,
    make: () => Promise<L>,
  ): { port: Promise<P>; link: Promise<L> } {
    if (this.#adding >= crowd) {
      const link = make();
      return { link, port: link.then(attach) };
    }
    const port = attach();
    const isToldFirst = ovs.portCount >= manyPorts && this.#adding === 1;
    return { port, link: (isToldFirst ? port : Promise.resolve()).then(make) };
  }

  /** Waits until packets are forwarded, then checks the gateways if that is enabled, and announces the addresses. */
  async #inService(
    pair: VethPair,
    {
      ovs,
      settings,
      pod,
      end,
      ips,
    }: Pick<CniResult, "ips"> & {
      readonly ovs: Ovs;
      readonly settings: OvsSettings;
      readonly pod: Netns;
      /** The Pod's end, with its new MAC address. */
      readonly end: VethEnd;
    },
    o: Signal,
  ): Promise<void> {
    const { tasks, detection = noDetection } = this.#options;
    await this.#carry(ovs, pair, settings, o);
    if (detection.gateways) await checkGateways(pod, end.name, ips, { ...o, detection });
    const addresses = ips.map(({ address }) => address.ip);
    // Everything is sent before spawn() returns. Only the kernel's closing of the socket, which is slow, goes on.
    tasks.spawn("announce addresses", () => announce(pod, end, addresses));
  }

  /**
   * Resolves when the port forwards packets. vswitchd makes a new port promiscuous by reading the link's flags and writing
   * them back: an "up" that came between is lost. It does so before it gives the number, so that what is seen then stays.
   */
  async #carry(ovs: Ovs, { name, index }: VethPair, settings: OvsSettings, o: Signal): Promise<void> {
    const { host } = this.#options;
    await inService(ovs, name, settings, o);
    if (host.rtnl.link(index)?.up !== true) host.rtnl.setLink(index, { up: true });
  }

  async check(c: OvsConfig, attachment: Attachment, options: Signal): Promise<void> {
    const { host, ovsFor, ipamFor } = this.#options;
    const previous = requirePrevious(c.config.prevResult);
    await ipamFor(c.config)?.check(attachment, previous, options);
    const settings = settingsOf(c, this.#flat(c), attachment);
    using pod = openPod(attachment.netns);
    const hostName = checkLinks(host, pod, attachment, previous);
    const ovs = ovsFor(settings.socketFile);
    await retriable(ovs.synced(options));
    checkPort(ovs, { ...portSpec(settings, attachment), name: hostName });
  }

  /** Restores the port if the database has lost it, and brings the host's end up. A lost link cannot be restored. */
  async restore(c: OvsConfig, attachment: Attachment, options: Signal): Promise<readonly string[]> {
    const { host, ovsFor } = this.#options;
    const name = c.config.prevResult?.interfaces.find(({ sandbox = "" }) => sandbox === "")?.name;
    if (name === undefined) return [];
    await host.rtnl.linkGone(name);
    const link = host.rtnl.link(name);
    if (link === undefined) return [];
    const settings = settingsOf(c, this.#flat(c), attachment);
    const ovs = ovsFor(settings.socketFile);
    const made: string[] = [];
    // Without a connection nothing is known of ports. They are checked when it is back.
    if (ovs.state.kind === "connected" && !ovs.ports().has(link.name)) {
      await retriable(ovs.attach({ ...portSpec(settings, attachment), name: link.name }, options));
      made.push(`port ${link.name} of bridge ${settings.bridge}`);
      // vswitchd may set the link down meanwhile: see #carry.
      await inService(ovs, link.name, { ...settings, readyMs: restoreMsMax }, options);
    }
    if (host.rtnl.link(link.index)?.up === false) {
      host.rtnl.setLink(link.index, { up: true });
      made.push(`link ${link.name} up`);
    }
    return made;
  }

  /**
   * Finds the port by its name, which follows from the container ID, else by its owner in external_ids, as ovs-cni wrote it. Does
   * not wait until the kernel has deleted the link: it has no port any more, and the Pod's end no address.
   */
  async del(c: OvsConfig, attachment: Attachment, options: Signal): Promise<void> {
    const ovs = this.#options.ovsFor(c.fields.socketFile ?? this.#flat(c)?.socketFile);
    const name = hostLinkName("veth", attachment.containerId, attachment.ifName);
    const [detached, removed, released] = await Promise.allSettled([
      detach(ovs, name, attachment, options),
      this.#removeLink(name, attachment),
      this.#options.ipamFor(c.config)?.release(attachment, options),
    ]);
    const others = detached.status === "fulfilled" ? detached.value.filter((other) => other !== name) : [];
    for (const other of others) await this.#removeLink(other, attachment);
    if (removed.status === "fulfilled" && !removed.value && others.length === 0) removePodLink(attachment);
    for (const each of [detached, removed, released]) if (each.status === "rejected") throw each.reason;
  }

  /** Throws CniError 50 if the database or the configured bridge is missing. */
  async status(c: OvsConfig, options: Signal): Promise<void> {
    const settings = settingsOf(c, this.#flat(c), { args: new Map() });
    const ovs = this.#options.ovsFor(settings.socketFile);
    // Runtimes ask every few seconds, so an answer must not take long.
    using limit = withTimeout(options.signal, 1_000, () => new Error("waited 1000 ms"));
    try {
      await ovs.synced({ signal: limit });
    } catch (error) {
      throw CniError.from(error, cniCodes.notAvailable);
    }
    if (ovs.bridges().has(settings.bridge) || settings.createBridge !== undefined) return;
    throw new CniError(cniCodes.notAvailable, "there is no such Open vSwitch bridge on this node", {
      details: { bridge: settings.bridge, existing: [...ovs.bridges().keys()].sort() },
    });
  }

  #flat({ configurationPath }: OvsConfig) {
    return readFlatFile(configurationPath, this.#options.flatFiles);
  }

  /** False if there is no such link. If the Pod's end may still have addresses, the link is gone when this resolves. */
  async #removeLink(name: string, attachment: Attachment): Promise<boolean> {
    const { host, tasks } = this.#options;
    const link = host.rtnl.link(name);
    if (link === undefined) return false;
    if (silence(attachment, "veth")) tasks.spawn("delete link", () => host.rtnl.deleteLinkSoon(link));
    else await host.rtnl.deleteLinksLater([name]);
    return true;
  }
}

function portSpec(settings: OvsSettings, { containerId, ifName, netns, pod, args }: Attachment): PortSpec {
  const { bridge, createBridge, vlan, interfaceType, ofportRequest, ifaceId } = settings;
  return {
    bridge,
    name: hostLinkName("veth", containerId, ifName),
    vlan,
    owner: { contPodUid: args.get("K8S_POD_UID") ?? pod?.uid ?? "", contNetns: netns, contIface: ifName },
    ...(createBridge !== undefined && { createBridge }),
    ...(interfaceType !== undefined && { interfaceType }),
    ...(ofportRequest !== undefined && { ofportRequest }),
    ...(ifaceId !== undefined && { ifaceId }),
  };
}

/** The pair as Open vSwitch needs it. `silent`: the Pod's end comes up at once, otherwise when it is configured. */
function pairSpec(name: string, ifName: string, { mtuBytes }: OvsSettings, silent: boolean): PairSpec {
  return {
    name,
    promiscuous: true,
    ...(mtuBytes !== undefined && { mtuBytes }),
    pod: { name: ifName, ...(silent && { up: true }) },
  };
}

async function inService(ovs: Ovs, name: string, { readyMs }: OvsSettings, { signal }: Signal): Promise<OvsPort> {
  if (readyMs === undefined) return await retriable(ovs.ready(name, { signal }));
  using limit = withTimeout(signal, readyMs, () => new Error(`waited ${readyMs} ms`));
  return await retriable(ovs.ready(name, { signal: limit }));
}

/** Removes the port, by name or else by owner, because ovs-cni gives its ports random names. Returns the names. */
async function detach(ovs: Ovs, name: string, attachment: Attachment, options: Signal): Promise<readonly string[]> {
  const detached = await retriable(ovs.detach(name, options));
  const { netns: contNetns, ifName: contIface } = attachment;
  if (detached.length > 0 || contNetns === "") return detached;
  return retriable(ovs.detach({ contNetns, contIface }, options));
}

/** Deletes the Pod's end, and with it a host's end that no name led to. This deletion is slow, but rarely needed. */
function removePodLink({ netns, ifName }: Attachment): void {
  using pod = openPodIfThere(netns);
  if (pod?.rtnl.link(ifName)?.kind === "veth") pod.rtnl.deleteLink(ifName, { tolerate: ["ENODEV"] });
}
