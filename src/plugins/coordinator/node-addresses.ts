import type { Tasks } from "#base";
import type { Ip } from "#ip";
import { monitor, type Netns } from "#linux";
import { isNodeInterface } from "../node-interfaces.ts";
import { isUsable } from "./state.ts";

/**
 * The addresses by which Pods may reach their node. Read once and again after a change: an interface for virtual servers
 * can hold thousands.
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

  /** In the order of the interfaces. What has an address on another system's is not the node as Pods should know it. */
  list(): readonly Ip[] {
    if (!this.#watching) this.#watch();
    this.#known ??= read(this.#host);
    return this.#known;
  }

  /** Subscribed before the first reading, so that no change is missed. */
  #watch(): void {
    const { signal } = this.#tasks;
    const events = monitor(this.#host, { topics: ["addresses"], signal });
    this.#watching = true;
    this.#tasks.spawn("watch node addresses", async () => {
      try {
        for await (const event of events) {
          // Every new Pod's link on the node gets an address of its own that nobody else can know.
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
