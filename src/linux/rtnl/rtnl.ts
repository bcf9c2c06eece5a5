import { constants, release } from "node:os";
import type { Family, Ip } from "#ip";
import { LinuxError } from "../errors.ts";
import { Channel, openTransport, protocols, type Reply, type Request } from "../netlink/channel.ts";
import type { Netns } from "../netns.ts";
import { type Address, decodeAddress, encodeDumpAddresses } from "./address.ts";
import { Batch } from "./batch.ts";
import { BesideMaker } from "./beside.ts";
import * as links from "./link.ts";
import { LinkDeleter } from "./link-deleter.ts";
import { decodeNeighbour, encodeDumpNeighbours, type Neighbour } from "./neighbour.ts";
import { decodeNetconf, encodeGetNetconf, type Netconf, netconfIndexes } from "./netconf.ts";
import { decodeNetnsId, encodeGetNetnsId, encodeNewNetnsId } from "./netns-id.ts";
import { type LinkRef, linkText, type Operation, types } from "./request.ts";
import {
  decodeRoute,
  decodeRouteAnswer,
  encodeDumpRoutes,
  encodeGetRoute,
  mainTable,
  type Route,
  type RouteFilter,
  type RouteGetOptions,
} from "./route.ts";
import { decodeRule, encodeDumpRules, type Rule } from "./rule.ts";
import type { BesideSpec, BondValue, Link, LinkSpec, MadeBeside, VethPair, VethSpec } from "./types.ts";
import { type MadeVeth, madeVeth, peerRequest, vethRequests, type WantedVeth, wantedVeths } from "./veth.ts";

/**
 * Links, addresses, routes, rules and neighbours of one namespace. Synchronous, 0.01 to 0.5 ms each. Whatever the kernel
 * refuses is a LinuxError that names the operation, its object and the namespace. One socket, made inside at first use.
 */
export class Rtnl implements Disposable {
  readonly #netns: Netns;
  #deleterMade: LinkDeleter | undefined;
  #besideMade: BesideMaker | undefined;
  #channel: Channel | undefined;

  /** Use `Netns.rtnl`. */
  constructor(netns: Netns) {
    this.#netns = netns;
  }

  /** Made when it is used: only the node's namespace needs one. */
  get #deleter(): LinkDeleter {
    this.#deleterMade ??= new LinkDeleter(() => this.#openTransport(), this.#netns.path);
    return this.#deleterMade;
  }

  /** Likewise. */
  get #beside(): BesideMaker {
    this.#besideMade ??= new BesideMaker({
      open: () => this.#openTransport(),
      where: this.#netns.path,
      complete: (wanted, replies) => this.#completeVeths(wanted, replies),
    });
    return this.#besideMade;
  }

  /**
   * Sends what `build` collects at once. Every operation is tried. Throws the first failure that was not tolerated; its
   * `details.failures` has the messages of all.
   *
   * @param known indexes of links by name, which need not be asked for then
   */
  batch(build: (batch: Batch) => void, known?: ReadonlyMap<string, number>): void {
    const batch = new Batch((name) => known?.get(name) ?? this.#indexOf(name));
    build(batch);
    this.#apply(batch.operations);
  }

  links({ kind }: { readonly kind?: string } = {}): readonly Link[] {
    return this.#dump(types.getLink, links.encodeDumpLinks(kind), "list links").map(links.decodeLink);
  }

  /** undefined if there is none of that name or index. */
  link(link: LinkRef): Link | undefined {
    const body = this.#get(types.getLink, links.encodeGetLink(link), `find link ${linkText(link)}`, ["ENODEV"]);
    return body === undefined ? undefined : links.decodeLink(body);
  }

  createVeth(spec: VethSpec): VethPair {
    return this.createVeths([spec])[0] as VethPair;
  }

  /**
   * Makes several pairs in one send: all or none. Two things need a second send: an end without IPv6 address generation goes
   * up only after that was turned off, and the kernel refuses to bring a peer up while it makes the pair.
   */
  createVeths(specs: readonly VethSpec[]): readonly VethPair[] {
    const wanted = wantedVeths(specs);
    return this.#completeVeths(wanted, this.#exchange(vethRequests(wanted)));
  }

  #completeVeths(wanted: readonly WantedVeth[], replies: readonly Reply[]): readonly VethPair[] {
    const there = wanted.filter((_, at) => replies[at]?.error === undefined);
    const made: MadeVeth[] = [];
    let failure = firstFailure(replies);
    for (const [netns, specs] of Map.groupBy(there, ({ peer }) => peer.netns ?? this.#netns)) {
      const found = netns.rtnl.#exchange(specs.map(peerRequest));
      made.push(...specs.flatMap((spec, at) => madeVeth(spec, found[at]) ?? []));
      failure ??= firstFailure(found);
    }
    if (failure !== undefined) {
      for (const { name } of there) this.deleteLink(name, { tolerate: ["ENODEV"] });
      throw failure;
    }
    this.#finishVeths(made);
    return made.map(({ pair }) => pair);
  }

  /**
   * Makes a link in another namespace, whose parent is here, and pairs, in one send off the calling thread: the kernel works
   * on them for 2 ms. Makes as much of it as it can, and nothing while another call is under way. Does not throw what the
   * kernel refuses: the caller makes what is missing, and gets the error then.
   */
  tryBeside({ child, veths }: BesideSpec): Promise<MadeBeside> {
    return this.#beside.make({ child: child && (() => this.#createInside(child.spec, child.netns)), veths });
  }

  /** The request for a link in another namespace, sent in this one because its parent is here. */
  #createInside(spec: LinkSpec, { fd }: Netns): Request {
    const { name, kind } = spec;
    const encoding = { indexOf: (link: LinkRef) => this.#indexOf(link) };
    const attempted = () => `create ${kind.kind} ${name}`;
    return { ...newLink(links.encodeCreateLink(spec, encoding, { ownFd: fd })), attempted };
  }

  #finishVeths(made: readonly MadeVeth[]): void {
    this.batch((batch) => {
      for (const { spec, pair } of made) {
        if (spec.addrGenModeNone === true) batch.setLink(pair.index, { addrGenModeNone: true, up: spec.up === true });
      }
    });
    for (const [netns, peers] of Map.groupBy(made, ({ spec }) => spec.peer.netns ?? this.#netns)) {
      netns.rtnl.batch((batch) => {
        for (const { spec, pair } of peers) if (spec.peer.up === true) batch.setLink(pair.peer.index, { up: true });
      });
    }
  }

  /**
   * Makes a link of any kind but veth. Throws EEXIST if there is one of its name (before Linux 6.15 also if its parent's
   * namespace has one), EOPNOTSUPP where the kernel lacks the kind.
   */
  createLink(spec: LinkSpec): Link {
    const { name, kind, parentNetns } = spec;
    const attempted = () => `create ${kind.kind} ${name}`;
    const parents = parentNetns?.rtnl ?? this;
    const encoding = { indexOf: (link: LinkRef) => parents.#indexOf(link) };
    const find = { ...getLink(name), attempted: () => `find link ${name}` };
    let found: Reply | undefined;
    if (parentNetns === undefined || parents === this || makesInPlace()) {
      const other = parents === this ? undefined : { parentNetnsId: this.#idOf(parentNetns as Netns) };
      const create = { ...newLink(links.encodeCreateLink(spec, encoding, other)), attempted };
      const [made, own] = this.#exchange([create, find]);
      if (made?.error !== undefined) throw made.error;
      found = own;
    } else {
      parents.#apply([parents.#createInside(spec, this.#netns)]);
      [found] = this.#exchange([find]);
    }
    if (spec.addrGenModeNone === true) {
      this.setLink(name, { addrGenModeNone: true, ...(spec.up !== undefined && { up: spec.up }) });
    }
    return links.decodeLink(answerOf(found));
  }

  /** The number by which this namespace knows the other one, which it gives it if it has none yet. */
  #idOf({ fd, path }: Netns): number {
    const attempted = () => `number the namespace ${path}`;
    const [given, found] = this.#exchange([
      { type: types.newNetnsId, flags: links.createFlags, body: encodeNewNetnsId(fd), attempted, tolerate: ["EEXIST"] },
      { type: types.getNetnsId, flags: 0, body: encodeGetNetnsId(fd), attempted, asks: true },
    ]);
    if (given?.error !== undefined) throw given.error;
    return decodeNetnsId(answerOf(found));
  }

  /** Changes options of an existing bond. */
  setBond(link: LinkRef, options: Readonly<Record<string, BondValue>>): void {
    const attempted = () => `set ${Object.keys(options).join(", ")} of bond ${link}`;
    this.#apply([{ type: types.newLink, flags: 0, body: links.encodeSetBond(link, options), attempted }]);
  }

  /** Deletes links off the main thread, together with others that wait. A link that is already gone is success. */
  deleteLinksLater(names: readonly string[]): Promise<void> {
    return this.#deleter.delete(names);
  }

  /** Deletes a link that nobody waits for, after a pause, so that many go together. Resolves when it is gone. */
  deleteLinkSoon(link: Pick<Link, "index" | "name">): Promise<void> {
    return this.#deleter.deleteSoon(link);
  }

  /** Hurries the pending deletion of a link of this name, and resolves when it is gone: at once if there is none. */
  linkGone(name: string): Promise<void> {
    return this.#deleter.gone(name);
  }

  addresses(filter: { readonly link?: LinkRef; readonly family?: Family } = {}): readonly Address[] {
    const index = filter.link === undefined ? 0 : this.#indexOf(filter.link);
    return this.#dump(types.getAddress, encodeDumpAddresses(filter.family, index), "list addresses")
      .map(decodeAddress)
      .filter((address) => address !== undefined)
      .filter(({ link }) => index === 0 || link === index);
  }

  /** Routes of the main table, unless the filter names another one. A table that does not exist yet is empty. */
  routes({ family, table = mainTable, link }: RouteFilter): readonly Route[] {
    const index = link === undefined ? undefined : this.#indexOf(link);
    const bodies = this.#dump(types.getRoute, encodeDumpRoutes(family, table, index), "list routes", ["ENOENT"]);
    return bodies
      .map(decodeRoute)
      .filter((route) => route !== undefined)
      .filter((route) => table === 0 || route.table === table)
      .filter(({ dev, nextHops }) => index === undefined || dev === index || nextHops.some((hop) => hop.dev === index));
  }

  /** The route by which a packet would leave now; undefined if there is none. */
  routeGet(dst: Ip, options: RouteGetOptions = {}): Route | undefined {
    const body = encodeGetRoute(dst, options, { indexOf: (link) => this.#indexOf(link) });
    const answer = this.#get(types.getRoute, body, "look up a route", ["ENETUNREACH", "EHOSTUNREACH"]);
    return answer === undefined ? undefined : decodeRouteAnswer(answer);
  }

  /** In the order of their preference. */
  rules(family: Family): readonly Rule[] {
    const bodies = this.#dump(types.getRule, encodeDumpRules(family), "list rules");
    return bodies.map(decodeRule).filter((rule) => rule !== undefined);
  }

  neighbours({ family, link }: { readonly family: Family; readonly link?: LinkRef }): readonly Neighbour[] {
    const index = link === undefined ? undefined : this.#indexOf(link);
    return this.#dump(types.getNeighbour, encodeDumpNeighbours(family, index), "list neighbours")
      .map(decodeNeighbour)
      .filter((neighbour) => neighbour !== undefined)
      .filter(({ dev }) => index === undefined || dev === index);
  }

  /** Settings of links, of `all`, or of `default`, in their order; undefined if the link or the family is missing. */
  netconfs(links: readonly LinkRef[], family: Family): readonly (Netconf | undefined)[] {
    const requests = links.map((link): Request => {
      const body = encodeGetNetconf(family, this.#netconfIndex(link));
      return {
        type: types.getNetconf,
        flags: 0,
        body,
        attempted: () => `read settings of ${linkText(link)}`,
        asks: true,
      };
    });
    return this.#exchange(requests).map(({ error, bodies: [body] }) => {
      if (error !== undefined && !noNetconf.includes(error.code)) throw error;
      return body === undefined ? undefined : decodeNetconf(body);
    });
  }

  #netconfIndex(link: LinkRef): number {
    return link === "all" || link === "default" ? netconfIndexes[link] : this.#indexOf(link);
  }

  // The operations of a batch, each as a batch of one.

  setLink(...args: Parameters<Batch["setLink"]>): void {
    this.batch((batch) => batch.setLink(...args));
  }

  deleteLink(...args: Parameters<Batch["deleteLink"]>): void {
    this.batch((batch) => batch.deleteLink(...args));
  }

  addAddress(...args: Parameters<Batch["addAddress"]>): void {
    this.batch((batch) => batch.addAddress(...args));
  }

  deleteAddress(...args: Parameters<Batch["deleteAddress"]>): void {
    this.batch((batch) => batch.deleteAddress(...args));
  }

  addRoute(...args: Parameters<Batch["addRoute"]>): void {
    this.batch((batch) => batch.addRoute(...args));
  }

  deleteRoute(...args: Parameters<Batch["deleteRoute"]>): void {
    this.batch((batch) => batch.deleteRoute(...args));
  }

  addRule(...args: Parameters<Batch["addRule"]>): void {
    this.batch((batch) => batch.addRule(...args));
  }

  deleteRule(...args: Parameters<Batch["deleteRule"]>): void {
    this.batch((batch) => batch.deleteRule(...args));
  }

  setNeighbour(...args: Parameters<Batch["setNeighbour"]>): void {
    this.batch((batch) => batch.setNeighbour(...args));
  }

  deleteNeighbour(...args: Parameters<Batch["deleteNeighbour"]>): void {
    this.batch((batch) => batch.deleteNeighbour(...args));
  }

  [Symbol.dispose](): void {
    this.#channel?.[Symbol.dispose]();
    this.#channel = undefined;
    this.#besideMade?.[Symbol.dispose]();
    this.#deleterMade?.[Symbol.dispose]();
  }

  #openTransport() {
    return this.#netns.enter(() => openTransport(protocols.route));
  }

  #use(): Channel {
    this.#channel ??= new Channel(this.#openTransport(), this.#netns.path);
    return this.#channel;
  }

  #exchange(requests: readonly Request[]): readonly Reply[] {
    return this.#use().exchange(requests);
  }

  #apply(operations: readonly Operation[]): void {
    if (operations.length === 0) return;
    const failure = firstFailure(this.#exchange(operations));
    if (failure !== undefined) throw failure;
  }

  #get(type: number, body: Uint8Array, what: string, absent: readonly string[]): Uint8Array | undefined {
    return this.#use().get({ type, flags: 0, body, attempted: () => what, tolerate: absent, asks: true });
  }

  #dump(type: number, body: Uint8Array, what: string, absent: readonly string[] = []): readonly Uint8Array[] {
    return this.#use().dump({ type, flags: 0, body, attempted: () => what, tolerate: absent });
  }

  #indexOf(link: LinkRef): number {
    if (typeof link === "number") return link;
    const found = this.link(link);
    if (found === undefined) throw new LinuxError(constants.errno.ENODEV, `find link ${link} in ${this.#netns.path}`);
    return found.index;
  }
}

/**
 * Whether the kernel can make a link in the asking namespace when its parent is in another one. Before Linux 6.15 it makes the
 * link in the parent's namespace and moves it, which all programs there would see. There we ask in the parent's namespace
 * instead: then the link is made in its place, but the kernel compares its name with those of both namespaces.
 */
function makesInPlace(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 15);
}

function newLink(body: Uint8Array) {
  return { type: types.newLink, flags: links.createFlags, body };
}

function getLink(link: LinkRef) {
  return { type: types.getLink, flags: 0, body: links.encodeGetLink(link), asks: true } as const;
}

/** The one answer; throws what the kernel refused. */
function answerOf(reply: Reply | undefined): Uint8Array {
  const [body] = reply?.bodies ?? [];
  if (body === undefined) throw reply?.error ?? new RangeError("the kernel answered nothing");
  return body;
}

const noNetconf = ["EINVAL", "ENODEV", "EOPNOTSUPP"];

/** The first error. If there are several, its details have the messages of all. */
function firstFailure(replies: readonly Reply[]): LinuxError | undefined {
  const first = replies.find(({ error }) => error !== undefined)?.error;
  if (first === undefined) return undefined;
  const failures = replies.flatMap(({ error }) => error?.message ?? []);
  if (failures.length === 1) return first;
  return new LinuxError(first.errno, first.attempted, first.extendedText, { failures });
}
