import type { Ip, Prefix } from "#ip";
import { type AddAddressOptions, addAddressOperation, deleteAddressOperation } from "./address.ts";
import { deleteLinkOperation, setLinkOperations } from "./link.ts";
import { deleteNeighbourOperation, setNeighbourOperation } from "./neighbour.ts";
import type { Encoding, LinkRef, Operation, Tolerance } from "./request.ts";
import { type AddRouteOptions, addRouteOperation, deleteRouteOperation, type RouteSpec } from "./route.ts";
import { addRuleOperation, deleteRuleOperation, type RuleSpec } from "./rule.ts";
import type { LinkChange } from "./types.ts";

/**
 * Collects changes of one namespace that go to the kernel in one send, in order. One that fails does not stop the later
 * ones. Links must exist when a batch is built, since their names are looked up then.
 */
export class Batch implements Encoding {
  readonly #operations: Operation[] = [];
  readonly #find: (name: string) => number;
  #found: Map<string, number> | undefined;

  /** Use `Rtnl.batch`. */
  constructor(find: (name: string) => number) {
    this.#find = find;
  }

  indexOf(link: LinkRef): number {
    if (typeof link === "number") return link;
    this.#found ??= new Map();
    const index = this.#found.get(link) ?? this.#find(link);
    this.#found.set(link, index);
    return index;
  }

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  setLink(link: LinkRef, change: LinkChange, options: Tolerance = {}): void {
    this.#operations.push(...setLinkOperations(link, change, this, options));
  }

  /** Waits about 24 ms in the kernel for a veth: `deleteLinksLater` does not block the thread. */
  deleteLink(link: LinkRef, options: Tolerance = {}): void {
    this.#operations.push(deleteLinkOperation(link, options));
  }

  addAddress(link: LinkRef, address: Prefix, options: AddAddressOptions = {}): void {
    this.#operations.push(addAddressOperation(link, address, options, this));
  }

  deleteAddress(link: LinkRef, address: Prefix, options: Tolerance = {}): void {
    this.#operations.push(deleteAddressOperation(link, address, options, this));
  }

  addRoute(route: RouteSpec, options: AddRouteOptions = {}): void {
    this.#operations.push(addRouteOperation(route, options, this));
  }

  /** What the spec leaves out matches anything; the kernel deletes the first route that matches. */
  deleteRoute(route: RouteSpec, options: Tolerance = {}): void {
    this.#operations.push(deleteRouteOperation(route, options, this));
  }

  addRule(rule: RuleSpec, options: Tolerance = {}): void {
    this.#operations.push(addRuleOperation(rule, options));
  }

  deleteRule(rule: RuleSpec, options: Tolerance = {}): void {
    this.#operations.push(deleteRuleOperation(rule, options));
  }

  /** Permanent; replaces an entry that is there. */
  setNeighbour(link: LinkRef, ip: Ip, mac: string, options: Tolerance = {}): void {
    this.#operations.push(setNeighbourOperation(link, ip, mac, options, this));
  }

  deleteNeighbour(link: LinkRef, ip: Ip, options: Tolerance = {}): void {
    this.#operations.push(deleteNeighbourOperation(link, ip, options, this));
  }
}
