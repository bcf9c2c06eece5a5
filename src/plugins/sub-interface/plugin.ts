import { setImmediate } from "node:timers/promises";
import { codeOf, hasCode, type JsonObject, type Signal, type Steps, type Tasks } from "#base";
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
import { announce, type Link, type Netns, type VethPair, writeSysctl } from "#linux";
import { checkAddresses, checkLink, differs, insideOf, requirePrevious } from "../check.ts";
import { type Configuration, configureInterface } from "../configure.ts";
import { invalid } from "../decode.ts";
import {
  type AskingLink,
  askingBy,
  askingLink,
  checkGateways,
  type Detection,
  noDetection,
  refuseEmpty,
  withoutConflicts,
} from "../detection.ts";
import { derivedMac } from "../names.ts";
import { freePodOf, openPod, podOf } from "../open-pod.ts";
import { bringUp, makePairs, type PairSpec, removePairs, Together, vethsOf } from "../pairs.ts";
import type { Plugin, StatusOptions } from "../plugin.ts";
import { dropAddresses } from "../silence.ts";
import { decodeIpvlan, decodeMacvlan, decodeVlan, requestedMac, type SubInterfaceConfig } from "./config.ts";
import { createLink, explainUp, type HolderOf, linkSpec, type Place, removeLink } from "./link.ts";
import { findParent } from "./parent.ts";

interface SubInterfacePluginOptions {
  /** The node's network namespace, with the parents. */
  readonly host: Netns;
  /** The configuration's `ipam`; undefined if it has none. */
  readonly ipamFor: (config: PluginConfig) => Ipam | undefined;
  /** Owns work that goes on after an answer: deletion of links, announcements. */
  readonly tasks: Tasks;
  /** @default neither */
  readonly detection?: Detection;
  /** Finds the holder of a MAC address. @default it is never known */
  readonly holderOf?: HolderOf;
  /** The configurations of all existing attachments, of every plugin. @default none */
  readonly attached?: () => Iterable<JsonObject>;
}

/** The plugin `macvlan`: interfaces with MAC addresses of their own on one parent. */
export function createMacvlanPlugin(options: SubInterfacePluginOptions): Plugin<SubInterfaceConfig> {
  return new SubInterfacePlugin("macvlan", decodeMacvlan, options);
}

/** The plugin `ipvlan`: interfaces that share the MAC address of their parent and are told apart by their addresses. */
export function createIpvlanPlugin(options: SubInterfacePluginOptions): Plugin<SubInterfaceConfig> {
  return new SubInterfacePlugin("ipvlan", decodeIpvlan, options);
}

/** The plugin `vlan`: the sub-interface of an 802.1Q tag. A parent has one for each tag. */
export function createVlanPlugin(options: SubInterfacePluginOptions): Plugin<SubInterfaceConfig> {
  return new SubInterfacePlugin("vlan", decodeVlan, options);
}

class SubInterfacePlugin implements Plugin<SubInterfaceConfig> {
  readonly type: string;
  readonly versions = supportedVersions;
  readonly decode: (config: PluginConfig) => SubInterfaceConfig;
  readonly #options: SubInterfacePluginOptions;
  /** Links that the kernel is deleting; they have no addresses any more. */
  readonly #leaving = new Set<Promise<void>>();
  /** How many ADDs are making their links now. */
  #making = 0;

  constructor(type: string, decode: (config: PluginConfig) => SubInterfaceConfig, options: SubInterfacePluginOptions) {
    this.type = type;
    this.decode = decode;
    this.#options = options;
  }

  /** Makes the link, and the pairs of later plugins, while the request for the claim is on its way. */
  async add(
    c: SubInterfaceConfig,
    attachment: Attachment,
    steps: Steps,
    together = new Together(),
  ): Promise<CniResult> {
    const { ipamFor, detection = noDetection, attached = () => [] } = this.#options;
    const ipam = ipamFor(c.config);
    const before = addressesBefore(c, ipam);
    const requested = requestedMac(c, attachment);
    refuseOtherMode(c, attached());
    const place = await this.#place(c, attachment, steps, together);

    const made = Promise.withResolvers<Link>();
    made.promise.catch(() => {}); // It may fail without anybody asking by the link.
    const asking = askingFor(c, { ...place, link: attachment.ifName, made: made.promise, detection });
    const making = this.#make(c, attachment, steps, { ...place, requested }, together);
    made.resolve(making);
    const claim = ipam?.allocate(attachment, steps, asking?.ask).then(refuseEmpty);
    claim?.catch(() => {}); // It may fail before it is waited for below.
    const [link, claimed] = await steps.all(making, claim ?? Promise.resolve(before));

    const given =
      detection.conflicts && ipam !== undefined && asking !== undefined
        ? await withoutConflicts(claimed, { ask: asking.ask, ipam, attachment, steps })
        : claimed;
    const mac = requested ?? macOf(c, given);
    await this.#giveAddresses(c, attachment, steps, { ...place, link, given, mac, asking });
    return resultOf(before, given, attachment, mac ?? link.mac);
  }

  /** Finds pod and parent. First waits until former links of the same names are gone. */
  async #place(c: SubInterfaceConfig, attachment: Attachment, steps: Steps, { wanted }: Together): Promise<Place> {
    const { host } = this.#options;
    for (const { name } of wanted) await host.rtnl.linkGone(name);
    if (this.#leaving.size > 0 && isTaken(attachment, steps)) await this.#left();
    const open = () => {
      const pod = freePodOf(attachment, steps);
      const home = c.linkInContainer ? pod : host;
      return { pod, home, parent: findParent(home, c) };
    };
    return steps.run("link", open, { of: attachment.ifName });
  }

  #make(
    c: SubInterfaceConfig,
    attachment: Attachment,
    steps: Steps,
    place: Place & { readonly requested: string | undefined },
    together: Together,
  ): Promise<Link> {
    const { host } = this.#options;
    const { wanted } = together;
    const make = async () => {
      this.#making += 1;
      try {
        const early = this.#making === 1 ? await this.#tryBeside(c, attachment, place, wanted) : undefined;
        // The request for the claim leaves in the next turn of the event loop: nothing may block the thread before that.
        if (early === undefined) await setImmediate();
        const link = early?.link ?? (await createLink(c, place, attachment));
        together.made(early?.pairs ?? (await makePairs(host, place.pod, wanted)));
        return link;
      } finally {
        this.#making -= 1;
      }
    };
    const undo = async () => {
      await Promise.all([removeLink(c, attachment), removePairs(host, wanted)]);
    };
    return steps.run("link", make, { of: attachment.ifName, undo });
  }

  /**
   * If this is the only ADD, its links are made on another thread, while this one chooses and claims an address. What is missing
   * afterwards is made in the usual way. Undefined if nothing was made, possibly at once.
   */
  async #tryBeside(
    c: SubInterfaceConfig,
    { ifName }: Attachment,
    place: Place & { readonly requested: string | undefined },
    wanted: readonly PairSpec[],
  ): Promise<{ readonly link: Link | undefined; readonly pairs: readonly VethPair[] | undefined } | undefined> {
    const { host } = this.#options;
    const { pod, home } = place;
    const child = home === host ? { spec: linkSpec(c, place, ifName), netns: pod } : undefined;
    const made = await host.rtnl.tryBeside({ child, veths: vethsOf(wanted, pod) });
    if (!made.child && made.pairs === undefined) return undefined;
    return {
      link: made.child ? pod.rtnl.link(ifName) : undefined,
      pairs: made.pairs && bringUp(host, pod, wanted, made.pairs),
    };
  }

  /** Brings the link up with its addresses, checks the gateways if that is enabled, and announces the addresses. */
  async #giveAddresses(
    c: SubInterfaceConfig,
    attachment: Attachment,
    steps: Steps,
    { link, given, mac, asking, ...place }: Made,
  ): Promise<void> {
    const { tasks, detection = noDetection, holderOf = () => undefined } = this.#options;
    const { ifName: of } = attachment;
    const { pod } = place;
    const { ips, routes } = given;
    const configure = async (o: Signal) => {
      asking?.end();
      try {
        await this.#configure(pod, { name: of, index: link.index }, { ips, routes, mac, arpNotify: true });
      } catch (error) {
        throw explainUp(error, place, { mac: mac ?? link.mac, of: attachment, holderOf });
      }
      if (detection.gateways && hasSegment(c)) await checkGateways(pod, of, ips, { ...o, detection });
    };
    await steps.run("addresses", configure, { of });
    if (!hasSegment(c)) return;
    const addresses = ips.map(({ address }) => address.ip);
    // Everything is sent before spawn() returns. Only the kernel's closing of the socket, which is slow, goes on.
    const known = mac ?? link.mac;
    const end = known === undefined ? of : { name: of, index: link.index, mac: known };
    tasks.spawn("announce addresses", () => announce(pod, end, addresses));
  }

  async check(c: SubInterfaceConfig, attachment: Attachment, options: Signal): Promise<void> {
    const { host, ipamFor } = this.#options;
    const previous = requirePrevious(c.config.prevResult);
    await ipamFor(c.config)?.check(attachment, previous, options);
    using pod = openPod(attachment.netns);
    const { inside, at } = insideOf(previous, attachment);
    const link = checkLink(pod, inside, c.make.kind);
    // Without `master` the parent cannot be compared: the default route may have changed since ADD.
    const parent = c.master === undefined ? undefined : (c.linkInContainer ? pod : host).rtnl.link(c.master);
    if (parent !== undefined && link.peerIndex !== parent.index) {
      throw differs(`parent of ${inside.name}`, parent.name, `#${link.peerIndex}`);
    }
    const [what, expected, found] =
      c.make.kind === "vlan"
        ? (["VLAN", c.make.id, link.vlanId] as const)
        : (["mode", c.make.mode, link.mode] as const);
    if (found !== expected) throw differs(`${what} of ${inside.name}`, expected, found);
    const mtuBytes = c.mtuBytes ?? link.mtuBytes;
    if (link.mtuBytes !== mtuBytes) throw differs(`MTU of ${inside.name}`, mtuBytes, link.mtuBytes);
    checkAddresses(pod, link, previous, at);
  }

  /**
   * Releases an address only after the link has stopped answering for it. If the parent can have many such links, the kernel
   * deletes this one in the background; if it can have only one, the link is gone when this resolves.
   */
  async del(c: SubInterfaceConfig, attachment: Attachment, options: Signal): Promise<void> {
    const removed = removeLink(c, attachment);
    if (isOneOfMany(c)) this.#leave(removed);
    else await removed;
    await this.#options.ipamFor(c.config)?.release(attachment, options);
  }

  #leave(removed: Promise<void>): void {
    const leaving = removed.finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
    this.#options.tasks.spawn("delete link", () => leaving);
  }

  async #left(): Promise<void> {
    await Promise.allSettled(this.#leaving);
  }

  /** Configures the link. Tries once more if a link that is being deleted had the same address, and so the same MAC address. */
  async #configure(pod: Netns, link: Pick<Link, "index" | "name">, configuration: Configuration): Promise<void> {
    // What arp_notify is for IPv4: neighbours learn of later changes of the MAC address.
    if (configuration.ips.some(({ address }) => address.ip.family === 6)) {
      writeSysctl(pod, `net/ipv6/conf/${link.name}/ndisc_notify`, 1);
    }
    try {
      configureInterface(pod, link, configuration);
    } catch (error) {
      if (codeOf(error) !== "EADDRINUSE" || this.#leaving.size === 0) throw error;
      await this.#left();
      dropAddresses(pod, link.index);
      configureInterface(pod, link, configuration);
    }
  }

  /** Throws CniError 50 if the parent is missing or down, unless a plugin before this one may make it. */
  async status(c: SubInterfaceConfig, { isFirst }: StatusOptions): Promise<void> {
    if (c.linkInContainer) return;
    try {
      findParent(this.#options.host, c);
    } catch (error) {
      if (!isFirst && hasCode(error, "PARENT_UNKNOWN")) return;
      throw CniError.from(error, cniCodes.notAvailable);
    }
  }
}

/** A new link, and its configuration. */
interface Made extends Place {
  readonly link: Link;
  readonly given: CniResult;
  /** Undefined: it is not changed. */
  readonly mac: string | undefined;
  readonly asking: AskingLink | undefined;
}

/** The MAC address that follows from the first address; undefined for a link that has its parent's. */
function macOf(c: SubInterfaceConfig, { ips: [first] }: CniResult): string | undefined {
  return hasOwnMac(c) && first !== undefined ? derivedMac(first.address.ip) : undefined;
}

/** The result: that of earlier plugins, with the link and its addresses. */
function resultOf(
  { interfaces }: CniResult,
  { ips, routes, dns }: CniResult,
  { ifName: name, netns: sandbox }: Attachment,
  mac: string | undefined,
): CniResult {
  return {
    interfaces: [...interfaces, { name, ...(mac !== undefined && { mac }), sandbox }],
    ips: ips.map((ip) => ({ ...ip, interface: interfaces.length })),
    routes,
    ...(dns !== undefined && { dns }),
  };
}

/** The result of earlier plugins. Only an ipvlan interface without IPAM takes over their addresses. */
function addressesBefore({ make, config }: SubInterfaceConfig, ipam: Ipam | undefined): CniResult {
  if (make.kind !== "ipvlan" || ipam !== undefined) return emptyResult;
  const { prevResult = emptyResult } = config;
  if (prevResult.ips.length > 0) return prevResult;
  throw new CniError(cniCodes.invalidConfig, "an ipvlan interface receives nothing without addresses", {
    details: { field: "ipam", value: "absent", allowed: "an `ipam` block, or addresses from a plugin before this one" },
  });
}

/** Refuses another ipvlan mode than that of other Pods on the parent: the kernel would change it for all, and cut those off. */
function refuseOtherMode({ make, config: { raw } }: SubInterfaceConfig, attached: Iterable<JsonObject>): void {
  if (make.kind !== "ipvlan") return;
  for (const other of attached) {
    if (other["type"] !== "ipvlan" || other["master"] !== raw["master"]) continue;
    const mode = other["mode"] || "l2";
    if (mode !== make.mode) throw invalid("mode", make.mode, `${mode}, which Pods on this \`master\` have`);
  }
}

/** Whether the parent can have several such links. It has one for each VLAN tag, and one in mode passthru. */
function isOneOfMany({ make }: SubInterfaceConfig): boolean {
  return make.kind === "ipvlan" || (make.kind === "macvlan" && make.mode !== "passthru");
}

function isTaken(attachment: Attachment, steps: Steps): boolean {
  return podOf(attachment, steps).rtnl.link(attachment.ifName) !== undefined;
}

/** Whether the link gets a MAC address of its own. Only a macvlan does, unless it is in mode passthru. */
function hasOwnMac({ make }: SubInterfaceConfig): boolean {
  return make.kind === "macvlan" && make.mode !== "passthru";
}

/** Whether ARP and NDP work on the link. In the layer-3 modes of ipvlan they do not: the parent routes. */
function hasSegment({ make }: SubInterfaceConfig): boolean {
  return make.kind !== "ipvlan" || make.mode === "l2";
}

/** How to ask for conflicts. For an ipvlan its parent asks, with the same MAC address: the link would get no answers yet. */
function askingFor(
  c: SubInterfaceConfig,
  {
    pod,
    home,
    parent,
    link,
    made,
    detection,
  }: Place & { readonly link: string; readonly made: Promise<Link>; readonly detection: Detection },
): AskingLink | undefined {
  if (!hasSegment(c)) return undefined;
  if (c.make.kind === "ipvlan") return askingBy(home, parent.name, detection);
  return askingLink(pod, link, { open: async () => void (await made), detection });
}
