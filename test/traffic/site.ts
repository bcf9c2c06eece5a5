import { defaultMultusConfig, renderNetwork, type SpiderMultusConfig } from "#api";
import { type JsonObject, silentLogger, systemClock, Tasks } from "#base";
import type { PluginConfig } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { deleteNetns, setTxChecksum, writeSysctl } from "#linux";
import { createOvs, type Ovs } from "#ovsdb";
import {
  createCoordinatorPlugin,
  createIfacerPlugin,
  createIpvlanPlugin,
  createMacvlanPlugin,
  createMirrorPlugin,
  createOvsPlugin,
  createVlanPlugin,
  type Plugin,
} from "#plugins";
import { TestRuntime } from "../../src/agent/testing/runtime.ts";
import { type OpenVswitch, startOpenVswitch, untilCoresAreCounted } from "../../src/ovsdb/testing/open-vswitch.ts";
import { type Family, inVlan, overlayOf, type Segment, untagged, WrittenAddresses } from "./addresses.ts";
import { olderReplyMarks, refuse } from "./filters.ts";
import type { Kind } from "./kinds.ts";
import { Place } from "./net.ts";

/** What the coordinator is told of the cluster. */
const cluster = {
  mode: "auto",
  overlayPodCIDR: ["10.244.0.0/16", "fd00:244::/32"],
  serviceCIDR: ["10.96.0.0/16", "fd00:96::/112"],
} as const;
/** Hosts behind the router: one that comes by the nodes' ports, and one whose answers must not pass a node. */
export const behind = {
  client: {
    4: { address: "192.0.2.10", gateway: "192.0.2.1" },
    6: { address: "fd00:192::10", gateway: "fd00:192::1" },
  },
  direct: {
    4: { address: "192.0.2.210", gateway: "192.0.2.129" },
    6: { address: "fd00:192:1::10", gateway: "fd00:192:1::1" },
  },
} as const;
const cards = ["eth0", "eth1", "eth2"] as const;

/** A node: cards on the switch, perhaps a bridge, and a runtime before the agent's handling of calls. */
export class SiteNode extends Place {
  readonly number: number;
  readonly addresses: { readonly 4: string; readonly 6: string };
  readonly ipam = new WrittenAddresses();
  #runtime: TestRuntime | undefined;
  #switch: { readonly real: OpenVswitch; readonly ovs: Ovs & AsyncDisposable } | undefined;
  readonly #tasks = new Tasks(silentLogger);

  constructor(number: number) {
    super(`node${number}`);
    this.number = number;
    this.addresses = { 4: `172.18.0.${10 + number}`, 6: `fd00:172:18::${10 + number}` };
  }

  get runtime(): TestRuntime {
    if (this.#runtime === undefined) throw new TypeError(`${this.name} has not started`);
    return this.#runtime;
  }

  get openVswitch(): OpenVswitch {
    if (this.#switch === undefined) throw new TypeError(`${this.name} has no Open vSwitch`);
    return this.#switch.real;
  }

  /** Which interface has the node's addresses. */
  get uplink(): string {
    return this.#switch === undefined ? "eth0" : "br1";
  }

  /** Gives it addresses and a bridge where the kind needs one, and starts the runtime. */
  async start({ datapath }: Pick<Kind, "datapath">): Promise<void> {
    this.becomeRouter();
    for (const card of cards) this.netns.rtnl.setLink(card, { up: true });
    if (datapath === "system") await untilCoresAreCounted();
    if (datapath !== undefined) this.#startSwitch(datapath);
    this.configure(this.uplink, [`${this.addresses[4]}/16`, `${this.addresses[6]}/64`]);
    for (const family of [4, 6] as const) routeAll(this, family, untagged[family].gateway);
    const ipamFor = ({ raw }: PluginConfig) =>
      (raw["ipam"] as JsonObject | undefined)?.["type"] === "spiderpool" ? this.ipam : undefined;
    this.#runtime = await TestRuntime.start({ plugins: this.#plugins(ipamFor), ipamFor });
  }

  #startSwitch(datapath: "system" | "netdev"): void {
    // The daemons are in the namespace of the thread that starts them.
    const real = this.netns.enter(() => startOpenVswitch() as never) as OpenVswitch;
    const ovs = createOvs({ endpoint: real.endpoint, clock: systemClock, log: silentLogger });
    real.vsctl("add-br", "br1", "--", "set", "bridge", "br1", `datapath_type=${datapath}`);
    real.vsctl("add-port", "br1", "eth0");
    this.#switch = { real, ovs };
  }

  #plugins(ipamFor: (config: PluginConfig) => WrittenAddresses | undefined): readonly Plugin<never>[] {
    const [host, tasks, replyMarks] = [this.netns, this.#tasks, olderReplyMarks()];
    const sub = { host, ipamFor, tasks };
    const { ovs } = this.#switch ?? {};
    const ovsFor = () => {
      if (ovs === undefined) throw new TypeError("no Open vSwitch");
      return ovs;
    };
    const plugins = [
      createOvsPlugin({ host, ovsFor, ipamFor, tasks, flatFiles: [] }),
      createMirrorPlugin("producer", { ovsFor, flatFiles: [] }),
      createMirrorPlugin("consumer", { ovsFor, flatFiles: [] }),
      createMacvlanPlugin(sub),
      createIpvlanPlugin(sub),
      createVlanPlugin(sub),
      createIfacerPlugin({ host, log: silentLogger }),
      createCoordinatorPlugin({ host, tasks, clusterConfig: async () => cluster, ...(replyMarks && { replyMarks }) }),
    ];
    return plugins as unknown as readonly Plugin<never>[];
  }

  async stop(): Promise<void> {
    await this.#runtime?.[Symbol.asyncDispose]();
    await this.#tasks.stop();
    await this.#switch?.ovs[Symbol.asyncDispose]();
    this.#switch?.real.vsctl("del-br", "br1");
    await this.#switch?.real[Symbol.asyncDispose]();
    this[Symbol.dispose]();
    deleteNetns(this.path);
  }
}

/**
 * Two nodes on a switch with a router, and two hosts behind that. To be made in an isolated test file only: all of it is
 * in namespaces below /run/netns.
 */
export class Site {
  readonly kind: Kind;
  readonly switch: Place;
  readonly router: Place;
  readonly client: Place;
  readonly direct: Place;
  readonly nodes: readonly [SiteNode, SiteNode];

  private constructor(kind: Kind) {
    this.kind = kind;
    this.switch = new Place("switch");
    this.router = new Place("router");
    this.client = new Place("client");
    this.direct = new Place("direct");
    this.nodes = [new SiteNode(1), new SiteNode(2)];
  }

  static async make(kind: Kind): Promise<Site> {
    const site = new Site(kind);
    site.#cable();
    for (const node of site.nodes) await node.start(kind);
    site.#routeOverlay();
    if (kind.vlan !== undefined) site.#addVlanLeg(kind.vlan);
    return site;
  }

  /** Where the Pods' addresses are from. */
  get segment(): Segment {
    return this.kind.vlan === undefined ? untagged : inVlan;
  }

  /** The network of Pods of this kind, as the controller would render it. */
  network(vlan = this.kind.vlan): JsonObject {
    const spec = this.kind.spec(vlan);
    const config = { metadata: { name: "net", namespace: "kube-system", uid: "", resourceVersion: "" }, spec };
    return JSON.parse(
      renderNetwork(defaultMultusConfig(config as SpiderMultusConfig)).spec?.config ?? "",
    ) as JsonObject;
  }

  /** The port of the switch behind which a MAC address was seen last. */
  switchPortOf(mac: string): string | undefined {
    const lines = this.switch.run(["bridge", "fdb", "show", "br", "br0"]).split("\n");
    return lines.find((line) => line.startsWith(mac))?.match(/ dev (\S+)/)?.[1];
  }

  #cable(): void {
    this.switch.netns.rtnl.createLink({ name: "br0", kind: { kind: "bridge" }, up: true });
    writeSysctl(this.switch.netns, "net/ipv6/conf/all/disable_ipv6", 1);
    this.switch.run(["ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0"]);
    for (const node of this.nodes) for (const card of cards) this.#plug(node, card);
    this.#plug(this.router, "wan");
    this.router.becomeRouter();
    this.router.configure("wan", [`${untagged[4].gateway}/16`, `${untagged[6].gateway}/64`]);
    // As a card would: a userspace bridge on the way forwards frames as they are.
    setTxChecksum(this.router.netns, "wan", false);
    for (const at of ["client", "direct"] as const) {
      const { [at]: own } = behind;
      this.router.netns.rtnl.createVeth({ name: at, peer: { name: "eth0", netns: this[at].netns } });
      this.router.configure(at, [`${own[4].gateway}/25`, `${own[6].gateway}/64`]);
      this[at].configure("eth0", [`${own[4].address}/25`, `${own[6].address}/64`]);
      for (const family of [4, 6] as const) routeAll(this[at], family, own[family].gateway);
    }
    const { direct } = behind;
    for (const node of this.nodes) refuse(node, [direct[4].address, direct[6].address]);
  }

  #plug(place: Place, card: string): void {
    const { rtnl } = this.switch.netns;
    const name = `${place.name}-${card}`;
    rtnl.createVeth({ name, peer: { name: card, netns: place.netns } });
    rtnl.setLink(name, { master: "br0", up: true });
  }

  /** As an overlay network would: everybody knows which node has which of its addresses. */
  #routeOverlay(): void {
    for (const there of this.nodes) {
      for (const family of [4, 6] as const) {
        const dst = parsePrefix(overlayOf(there.number)[family].prefix(0));
        const gw = parseIp(there.addresses[family]);
        for (const here of [this.router, ...this.nodes]) if (here !== there) here.netns.rtnl.addRoute({ dst, gw });
      }
    }
  }

  /** The router's interface in the Pods' VLAN. Without 802.1Q in the kernel it is an access port of the first node's bridge. */
  #addVlanLeg(id: number): void {
    const { netns } = this.router;
    const [node] = this.nodes;
    if (this.kind.datapath === undefined) {
      netns.rtnl.createLink({ name: "leg", kind: { kind: "vlan", parent: "wan", id } });
    } else {
      node.netns.rtnl.createVeth({ name: "leg-port", peer: { name: "leg", netns } });
      // Else the node's routes change whenever the kernel comes to give it an address.
      writeSysctl(node.netns, "net/ipv6/conf/leg-port/disable_ipv6", 1);
      node.netns.rtnl.setLink("leg-port", { up: true });
      node.openVswitch.vsctl("add-port", "br1", "leg-port", `tag=${id}`);
    }
    setTxChecksum(netns, "leg", false);
    this.router.configure("leg", [`${inVlan[4].gateway}/16`, `${inVlan[6].gateway}/64`]);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
    for (const place of [this.switch, this.router, this.client, this.direct]) {
      place[Symbol.dispose]();
      deleteNetns(place.path);
    }
  }
}

function routeAll({ netns }: Place, family: Family, gateway: string): void {
  netns.rtnl.addRoute({ dst: parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0"), gw: parseIp(gateway) });
}
