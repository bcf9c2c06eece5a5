import type { Tasks } from "#base";
import type { Ip } from "#ip";
import { monitor, type Netns } from "#linux";
import { isNodeInterface } from "../node-interfaces.ts";
import { isUsable } from "./state.ts";

/**
 * The addresses by which Pods can reach their node. They are read again only after a change, because an interface for virtual
 * servers can have thousands.
 */
export class NodeAddresses {
  readonly #host: Netns;
  readonly #tasks: Tasks;
  #known: readonly Ip[] | undefined;
  #watching = false;

  constructor(host: Netns, tasks: Tasks) {
    this.#host = host;
    this.#tasks = tasks;
  }

  /** The usable addresses, in the order of the interfaces; without those that other systems have made, see `isNodeInterface`. */
  list(): readonly Ip[] {
    if (!this.#watching) this.#watch();
    this.#known ??= read(this.#host);
    return this.#known;
  }

  /** Subscribes to changes, before the first reading, so that none is missed. */
  #watch(): void {
    const { signal } = this.#tasks;
    const events = monitor(this.#host, { topics: ["addresses"], signal });
    this.#watching = true;
    this.#tasks.spawn("watch node addresses", async () => {
      try {
        for await (const event of events) {
          // The link of every new Pod gets a link-local address on the node: that is no reason to read again.
          if (event.kind !== "address" || isUsable(event.address.address.ip)) this.#known = undefined;
        }
      } finally {
        this.#known = undefined;
        this.#watching = false;
      }
    });
  }
}

function read({ rtnl }: Netns): readonly Ip[] {
  const byLink = Map.groupBy(
    rtnl.addresses().filter(({ address }) => isUsable(address.ip)),
    ({ link }) => link,
  );
  return [...byLink]
    .toSorted(([a], [b]) => a - b)
    .filter(([index]) => {
      const name = rtnl.link(index)?.name;
      return name !== undefined && isNodeInterface(name);
    })
    .flatMap(([, addresses]) => addresses.map(({ address }) => address.ip));
}
