import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "#base";
import { deleteNetns } from "#linux";
import { until } from "../../src/base/testing/until.ts";
import { bare, type Families, type Family, families, overlayOf, type Segment } from "./addresses.ts";
import { Place } from "./net.ts";
import type { Site, SiteNode } from "./site.ts";

/** How a Pod is connected: by the network alone, or by it beside an overlay's eth0. */
export type Attached = "underlay" | "overlay + underlay";

interface PodOptions {
  readonly attached: Attached;
  readonly families: Families;
  /** The last number of its addresses. */
  readonly host: number;
  /** Its CHECK is called, too: of Pods alike one is enough, and a process costs a user-mode kernel much. */
  readonly checked?: boolean;
  /** @default the kind's own */
  readonly vlan?: number | undefined;
  /** More plugins of its network, before the coordinator. */
  readonly chained?: readonly JsonObject[];
}

/** What stands in for an overlay network: a pair of links to the node, which routes. */
const overlayNetwork = {
  cniVersion: "1.0.0",
  name: "overlay",
  plugins: [{ type: "ptp", mtu: 1500, ipam: { type: "spiderpool" } }],
};

/** A Pod whose interfaces were made by the runtime's ADD. */
export class TrafficPod extends Place {
  readonly node: SiteNode;
  /** The interface on the network of the kind. */
  readonly nic: string;
  readonly families: readonly Family[];
  readonly #addresses: ReadonlyMap<Family, string>;
  readonly #overlay: ReadonlyMap<Family, string>;
  #end: () => Promise<void> = async () => {};

  private constructor(site: Site, name: string, node: SiteNode, options: PodOptions) {
    super(name);
    this.node = node;
    this.nic = options.attached === "underlay" ? "eth0" : "net1";
    this.families = families[options.families];
    const write = (ifName: string, { segment, host }: { readonly segment: Segment; readonly host: number }) => {
      const given = this.families.map((family) => [family, segment[family].prefix(host)] as const);
      node.ipam.write(
        name,
        ifName,
        given.map(([family, address]) => [address, segment[family].gateway]),
      );
      return new Map(given.map(([family, address]) => [family, bare(address)]));
    };
    this.#addresses = write(this.nic, { segment: site.segment, host: options.host });
    const overlay = { segment: overlayOf(node.number), host: options.host };
    this.#overlay = options.attached === "underlay" ? this.#addresses : write("eth0", overlay);
  }

  /** ADD, CHECK where it is asked for, and a server that answers with the Pod's name. */
  static async start(site: Site, name: string, node: SiteNode, options: PodOptions): Promise<TrafficPod> {
    const pod = new TrafficPod(site, name, node, options);
    const { runtime } = node;
    const network = chain(site.network(options.vlan ?? site.kind.vlan), options.chained ?? []);
    const isUnderlay = options.attached === "underlay";
    runtime.nads.set("kube-system/main", isUnderlay ? network : overlayNetwork);
    runtime.nads.set("default/net", network);
    runtime.networks = isUnderlay ? "" : "net";
    try {
      await pod.#call("ADD");
      if (options.checked === true) await pod.#call("CHECK");
      pod.#end = await pod.serve();
      return pod;
    } catch (error) {
      pod.#remove();
      throw error;
    }
  }

  /** Its address on the network of the kind. */
  address(family: Family): string {
    return this.#addresses.get(family) ?? "";
  }

  /** Its address on eth0, which kubelet and Services use. */
  podIp(family: Family): string {
    return this.#overlay.get(family) ?? "";
  }

  /** DEL; nothing is left in the namespace, which then goes. */
  async stop(): Promise<void> {
    try {
      await this.#end();
      await this.#call("DEL");
      // The answer does not wait for the kernel, which deletes links on a thread of its own.
      const links = () => this.netns.rtnl.links().map(({ name }) => name);
      await until("loopback alone in the Pod", links, (names) => isDeepStrictEqual(names, ["lo"]));
    } finally {
      this.#remove();
    }
  }

  #remove(): void {
    this[Symbol.dispose]();
    deleteNetns(this.path);
  }

  async #call(verb: string): Promise<void> {
    // Only what is run as a process of its own has to be on the node.
    const wrapper = this.nic === "eth0" ? [] : ["nsenter", `--net=${this.node.path}`];
    const { code, stdout } = await this.node.runtime.call(verb, { container: this.name, netns: this.path, wrapper });
    assert.equal(code, 0, `${verb} of ${this.name}: ${stdout}`);
  }
}

/** The network with more plugins in front of its last one, the coordinator. */
function chain(network: JsonObject, more: readonly JsonObject[]): JsonObject {
  const plugins = network["plugins"] as readonly JsonObject[];
  return { ...network, plugins: [...plugins.slice(0, -1), ...more, ...plugins.slice(-1)] };
}
