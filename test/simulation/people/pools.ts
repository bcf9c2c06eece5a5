import { AddressIndex, type SpiderIPPool, type SpiderSubnet, validateSubnet } from "#api";
import { formatIp, ipFromValue, ipValue, parseIp } from "#ip";
import type { Fields } from "../../../lab/api/index.ts";
import { subnetName } from "../cluster/applications.ts";
import type { KubeObject } from "../cluster/server.ts";
import { poolName, shape } from "../history.ts";
import { poolTable, subnetTable } from "../law/tables.ts";
import type { World } from "../world.ts";

export const group = "spiderpool.spidernet.io/v2beta1";
/** The networks' IPv6 pool, in the histories that have one. */
export const sixName = "six";
const finalizer = "spiderpool.spidernet.io";
const namespace = "default";

/** The pools, the subnet and the networks of a cluster, and what administrators do to them. */
export class Pools {
  readonly #world: World;
  #renames = 0;

  constructor(world: World) {
    this.#world = world;
    for (let pool = 0; pool < shape.pools; pool++) this.create(pool);
    // Each network draws from a pool of its own first, and then from the other: Pods with two NICs meet in one pool.
    this.#tellNetworks();
  }

  get(at: number): KubeObject | undefined {
    return this.#world.server.get(poolTable, { name: this.#nameOf(at) });
  }

  #nameOf(at: number): string {
    return this.#world.poolNames[at] ?? poolName(at);
  }

  /** What pools are, as far as it matters to claims. */
  specs(): string {
    return JSON.stringify(
      this.#world.server.store
        .list(poolTable)
        .map(({ metadata: { uid, deletionTimestamp }, ...pool }) => [uid, deletionTimestamp, pool["spec"]]),
    );
  }

  /** Not as long as another pool has the addresses: admission refuses that. */
  create(at: number): void {
    const { server } = this.#world;
    const isThere = ({ metadata: { name } }: KubeObject) => name.startsWith(poolName(at));
    if (server.store.list(poolTable).some(isThere)) return;
    const spec = { subnet: `10.${at + 6}.0.0/16`, ips: [range(at, at === 0 ? 10 : 6)], gateway: `10.${at + 6}.0.254` };
    const metadata = { name: this.#nameOf(at), finalizers: [finalizer] };
    server.create(group, "spiderippools", { kind: "SpiderIPPool", metadata, spec });
  }

  resize(at: number, size: number): void {
    const pool = this.get(at);
    if (pool === undefined || pool.metadata.deletionTimestamp !== undefined) return;
    const spec = { ...(pool["spec"] as Fields), ips: [range(at, size)] };
    this.#world.server.update(group, "spiderippools", { ...pool, spec });
  }

  /** Makes the subnet where it is not there; without a size it stays as it is otherwise. What admission refuses is not done. */
  resizeSubnet(size: number | undefined): void {
    const { server } = this.#world;
    const old = server.get(subnetTable, { name: subnetName });
    if (old !== undefined && size === undefined) return;
    const spec = {
      ipVersion: 4,
      subnet: "10.16.0.0/16",
      ips: [`10.16.0.1-10.16.0.${size ?? shape.subnetSizeMax / 2}`],
    };
    if (old === undefined) {
      const metadata = { name: subnetName, finalizers: [finalizer] };
      server.create(group, "spidersubnets", { kind: "SpiderSubnet", metadata, spec });
      return;
    }
    const subnet = { ...old, spec } as unknown as SpiderSubnet;
    const violations = validateSubnet(subnet, {
      old: old as unknown as SpiderSubnet,
      pools: AddressIndex.of(server.store.list(poolTable) as unknown as readonly SpiderIPPool[]),
      families: { enableIPv4: true, enableIPv6: true },
    });
    if (violations.length === 0) server.update(group, "spidersubnets", subnet as unknown as KubeObject);
  }

  /** Has networks give their Pods an IPv6 address, too. */
  dualStack(size: number): void {
    const { server } = this.#world;
    const spec = { subnet: "fd00:6::/64", ips: [`fd00:6::1-fd00:6::${size.toString(16)}`], gateway: "fd00:6::ffff" };
    const found = server.get(poolTable, { name: sixName });
    if (found === undefined) {
      const metadata = { name: sixName, finalizers: [finalizer] };
      server.create(group, "spiderippools", { kind: "SpiderIPPool", metadata, spec });
    } else server.update(group, "spiderippools", { ...found, spec: { ...(found["spec"] as Fields), ...spec } });
    this.#tellNetworks();
  }

  rename(at: number): void {
    const { server, time, poolNames } = this.#world;
    const old = this.get(at);
    if (old === undefined || old.metadata.deletionTimestamp !== undefined) return;
    poolNames[at] = `${poolName(at)}-${++this.#renames}`;
    this.#tellNetworks();
    server.delete(group, "spiderippools", old);
    for (const pod of server.store.list("/pods", namespace)) server.delete("v1", "pods", pod);
    for (const { machine } of this.#world.nodes) machine.manifests.clear();
    const again = () => {
      this.create(at);
      if (this.get(at) === undefined) time.after(5_000, again);
    };
    time.after(5_000, again);
  }

  #tellNetworks(): void {
    const [first = "", second = ""] = this.#world.poolNames;
    this.#putNetwork("first", [first, second]);
    this.#putNetwork("second", [first]);
  }

  #putNetwork(name: string, pools: readonly string[]): void {
    const { server } = this.#world;
    const six = server.get(poolTable, { name: sixName }) === undefined ? {} : { default_ipv6_ippool: [sixName] };
    const ipam = { type: "spiderpool", default_ipv4_ippool: pools, ...six };
    const config = { cniVersion: "1.0.0", name, plugins: [{ type: "ovs", bridge: "br1", ipam }] };
    const kind = "NetworkAttachmentDefinition";
    const body = { kind, metadata: { name, namespace: "kube-system" }, spec: { config: JSON.stringify(config) } };
    const of = ["k8s.cni.cncf.io/v1", "network-attachment-definitions"] as const;
    const found = server.get("k8s.cni.cncf.io/network-attachment-definitions", { name, namespace: "kube-system" });
    if (found === undefined) server.create(...of, body, "kube-system");
    else server.update(...of, { ...found, spec: body.spec });
  }
}

/** The addresses that the pool at this place has at this size, as text. */
export function range(pool: number, size: number): string {
  const first = parseIp(`10.${pool + 6}.0.1`);
  const last = ipFromValue(4, ipValue(first) + BigInt(size - 1));
  return size === 1 ? formatIp(first) : `${formatIp(first)}-${formatIp(last)}`;
}
