import { mkdirSync } from "node:fs";
import { defaultMultusConfig, renderNetwork, type SpiderMultusConfig } from "#api";
import { silentLogger, systemClock, Tasks } from "#base";
import type { JsonObject, PluginConfig } from "#cni";
import { deleteNetns, setTxChecksum } from "#linux";
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
import { type OpenVswitch, startOpenVswitch } from "../../src/ovsdb/testing/open-vswitch.ts";
import { inVlan, overlayOf, type Segment, untagged, WrittenAddresses } from "./addresses.ts";
import type { Kind } from "./kinds.ts";
import { iptables, Place } from "./net.ts";

/** What the coordinator is told of the cluster. */
const cluster = {
  mode: "auto",
  overlayPodCIDR: ["10.244.0.0/16", "fd00:244::/32"],
  serviceCIDR: ["10.96.0.0/16", "fd00:96::/112"],
} as const;
/** Hosts behind the router: one that comes by the nodes' ports, and one whose answers must not pass a node. */
export const behind = {
  client: { 4: "192.0.2.10", 6: "fd00:192::10" },
  direct: { 4: "192.0.2.130", 6: "fd00:192:1::10" },
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
    if (datapath !== undefined) this.#startSwitch(datapath);
    const own = [`${this.addresses[4]}/16`, `${this.addresses[6]}/64`];
    const routes = [`route add default via ${untagged[4].gateway}`, `-6 route add default via ${untagged[6].gateway}`];
    this.sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for card in ${cards.join(" ")}; do ip link set $card up; done
ip link set ${this.uplink} up
${own.map((address) => `ip addr add ${address} dev ${this.uplink} ${address.includes(":") ? "nodad" : ""}`).join("\n")}
${routes.map((route) => `ip ${route}`).join("\n")}`);
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
    const [host, tasks] = [this.netns, this.#tasks];
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
      createCoordinatorPlugin({ host, tasks, clusterConfig: async () => cluster }),
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
  readonly #iptables = iptables();

  private constructor(kind: Kind) {
    mkdirSync("/run/netns", { recursive: true });
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

  /** As kube-proxy does: what goes to one address and port goes to another, with the node's own address as source if so said. */
  forward(
    node: SiteNode,
    from: string,
    fromPort: number,
    to: string,
    { masquerade }: { readonly masquerade: boolean },
  ) {
    const family = from.includes(":") ? 6 : 4;
    const command = `${this.#iptables[family]} -w -t nat`;
    const match = `-d ${from} -p tcp --dport ${fromPort}`;
    const target = `-j DNAT --to-destination ${family === 6 ? `[${to}]` : to}:80`;
    node.sh(`${command} -A PREROUTING ${match} ${target}
${command} -A OUTPUT ${match} ${target}
${masquerade ? `${command} -A POSTROUTING -m conntrack --ctstate DNAT --ctorigdst ${from} -j MASQUERADE` : ""}`);
  }

  /** Takes all of {@link forward} back. */
  forwardNothing(node: SiteNode): void {
    node.sh(([4, 6] as const).map((family) => `${this.#iptables[family]} -w -t nat -F`).join("\n"));
  }

  /** The nodes drop what goes to the host whose answers must not pass them. */
  #cable(): void {
    this.switch.sh("ip link add br0 type bridge mcast_snooping 0; ip link set br0 up");
    const plug = (place: Place, card: string) =>
      this.switch.sh(`ip link add ${place.name}-${card} type veth peer name ${card} netns /run/netns/${place.name}
ip link set ${place.name}-${card} master br0 up`);
    for (const node of this.nodes) for (const card of cards) plug(node, card);
    plug(this.router, "wan");
    // As a card would: a userspace bridge on the way forwards frames as they are.
    setTxChecksum(this.router.netns, "wan", false);
    this.router.sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip link set wan up; ip addr add ${untagged[4].gateway}/16 dev wan; ip addr add ${untagged[6].gateway}/64 dev wan nodad`);
    for (const [place, at] of [
      [this.client, "client"],
      [this.direct, "direct"],
    ] as const) {
      const own = behind[at];
      const gateway = { 4: own[4].replace(/\d+$/, (last) => String(Number(last) - 1)), 6: own[6].replace(/10$/, "1") };
      this.router.sh(`ip link add ${at} type veth peer name eth0 netns /run/netns/${place.name}
ip link set ${at} up; ip addr add ${gateway[4]}/25 dev ${at}; ip addr add ${gateway[6]}/64 dev ${at} nodad`);
      place.sh(`ip link set eth0 up; ip addr add ${own[4]}/25 dev eth0; ip addr add ${own[6]}/64 dev eth0 nodad
ip route add default via ${gateway[4]}; ip -6 route add default via ${gateway[6]}`);
    }
    for (const node of this.nodes) {
      for (const family of [4, 6] as const) {
        node.sh(`${this.#iptables[family]} -w -A FORWARD -d ${behind.direct[family]} -j DROP`);
      }
    }
  }

  /** As an overlay network would: everybody knows which node has which of its addresses. */
  #routeOverlay(): void {
    for (const there of this.nodes) {
      for (const family of [4, 6] as const) {
        const route = `ip -${family} route add ${overlayOf(there.number)[family].prefix(0)} via ${there.addresses[family]}`;
        for (const here of [this.router, ...this.nodes]) if (here !== there) here.sh(route);
      }
    }
  }

  /** The router's interface in the Pods' VLAN. Without 802.1Q in the kernel it is an access port of the first node's bridge. */
  #addVlanLeg(vlan: number): void {
    const { datapath } = this.kind;
    const [node] = this.nodes;
    if (datapath === undefined) {
      this.router.sh(`ip link add leg link wan type vlan id ${vlan}`);
    } else {
      node.sh("ip link add leg-port type veth peer name leg netns /run/netns/router; ip link set leg-port up");
      node.openVswitch.vsctl("add-port", "br1", "leg-port", `tag=${vlan}`);
    }
    setTxChecksum(this.router.netns, "leg", false);
    this.router.sh(
      `ip link set leg up; ip addr add ${inVlan[4].gateway}/16 dev leg; ip addr add ${inVlan[6].gateway}/64 dev leg nodad`,
    );
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
    for (const place of [this.switch, this.router, this.client, this.direct]) {
      place[Symbol.dispose]();
      deleteNetns(place.path);
    }
  }
}
