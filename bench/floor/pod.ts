import { parsePrefix } from "#ip";
import { hostNetns, type Netns, openNetns, writeSysctl } from "#linux";
import type { Sandbox } from "../../lab/node/index.ts";

/** The kind of the Pods' interfaces. */
export type Network = "ovs" | "macvlan";

const parent = "br1";
const gateway = parsePrefix("172.31.0.1/16").ip;
let made = 0;

/** A Pod of the floor. Its namespace is open, and its links are not made yet. */
export class FloorPod {
  readonly sandbox: Sandbox;
  /** The node's end of its interface, and the port's name. */
  readonly port: string;
  readonly name: string;
  readonly linked = Promise.withResolvers<void>();
  readonly #wire: string;
  readonly #address;
  #netns: Netns | undefined;
  #links: { readonly eth0: number; readonly node: readonly { readonly name: string; readonly index: number }[] } = {
    eth0: 0,
    node: [],
  };

  constructor(sandbox: Sandbox) {
    const number = made++;
    this.sandbox = sandbox;
    this.name = `floor-${number}-${sandbox.pod.name}`;
    this.port = `floor${number}`;
    this.#wire = `wire${number}`;
    this.#address = `172.31.${1 + Math.floor(number / 250)}.${2 + (number % 250)}`;
  }

  get #pod(): Netns {
    this.#netns ??= openNetns(this.sandbox.netns);
    return this.#netns;
  }

  /**
   * The links of so many Pods in one message to the kernel, each with the pair between node and Pod, without which the node
   * would not reach the Pod; then a message to each Pod, whose ends come up.
   */
  static link(pods: readonly FloorPod[], network: Network): void {
    const { rtnl } = hostNetns();
    if (network === "macvlan") for (const pod of pods) pod.#makeMacvlan();
    const pairs = rtnl.createVeths(pods.flatMap((pod) => pod.#pairs(network)));
    const each = pairs.length / pods.length;
    for (const { name } of pairs) writeSysctl(hostNetns(), `net/ipv6/conf/${name}/disable_ipv6`, 1);
    for (const [at, pod] of pods.entries()) {
      const own = pairs.slice(at * each, (at + 1) * each);
      const eth0 = network === "ovs" ? own[0]?.peer.index : pod.#pod.rtnl.link("eth0")?.index;
      pod.#links = { eth0: eth0 ?? 0, node: own };
      pod.#pod.rtnl.batch((batch) => {
        for (const { peer } of own) batch.setLink(peer.index, { addrGenModeNone: true, up: true });
      });
      pod.linked.resolve();
    }
  }

  #makeMacvlan(): void {
    const kind = { kind: "macvlan", parent, mode: "bridge" } as const;
    this.#pod.rtnl.createLink({ name: "eth0", kind, parentNetns: hostNetns() });
  }

  #pairs(network: Network) {
    const wire = { name: this.#wire, up: true, peer: { name: "veth0", netns: this.#pod } };
    if (network === "macvlan") return [wire];
    const port = { name: this.port, up: true, promiscuous: true, peer: { name: "eth0", netns: this.#pod } };
    return [port, wire];
  }

  /** What can be done only with the address: one message to the Pod, one to the node. */
  configure(): void {
    const { eth0, node } = this.#links;
    this.#pod.rtnl.batch((batch) => {
      batch.setLink(eth0, { up: true });
      batch.addAddress(eth0, parsePrefix(`${this.#address}/16`));
      batch.addRoute({ dst: parsePrefix("0.0.0.0/0"), dev: eth0, gw: gateway });
    });
    const wire = node.at(-1)?.index ?? 0;
    hostNetns().rtnl.addRoute({ dst: parsePrefix(`${this.#address}/32`), dev: wire, table: 30_000 });
  }

  /** When this returns, the Pod no longer answers for its address. When the promise resolves, its links are gone. */
  async remove(network: Network): Promise<void> {
    const { eth0, node } = this.#links;
    const { rtnl } = this.#pod;
    rtnl.deleteAddress(eth0, parsePrefix(`${this.#address}/16`));
    const inside = network === "macvlan" ? rtnl.deleteLinksLater(["eth0"]) : undefined;
    await Promise.all([inside, ...node.map((link) => hostNetns().rtnl.deleteLinkSoon(link))]);
    this.#pod[Symbol.dispose]();
  }
}
