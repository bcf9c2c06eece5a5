import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { formatIp, formatPrefix, parseIp } from "#ip";
import { until } from "../../src/base/testing/until.ts";
import { derivedMac } from "../../src/plugins/names.ts";
import { bare, type Families, type Family, families } from "./addresses.ts";
import { forward } from "./filters.ts";
import { attachments, familiesOfPods, type Kind } from "./kinds.ts";
import { featuresOf } from "./net.ts";
import { type Attached, TrafficPod } from "./pods.ts";
import { Site, type SiteNode } from "./site.ts";
import { forwardsOf, type Way, type World, ways } from "./ways.ts";

/** Where nobody is who could have had the address before. */
const formerMac = "02:00:00:00:00:99";
const hosts = { pod: 101, neighbour: 102, remote: 103, stranger: 104 } as const;

/**
 * Tries every way of traffic for kinds of networks, in each family, for Pods of the network alone and beside an overlay.
 * To be called within an isolated test file. A kind that this kernel lacks something for is skipped, with what it lacks.
 */
export function tryTraffic(kinds: readonly Kind[]): void {
  const has = featuresOf();
  for (const kind of kinds) {
    const lacking = kind.needs.filter((feature) => !has.has(feature));
    const skip =
      lacking.length > 0 &&
      `this kernel has no ${lacking.join(", ")}: uml-*.test.ts beside this file run it in one that has`;
    describe(`traffic by ${kind.title}`, { timeout: 240_000, skip }, () => {
      let site: Site;
      const ends: (() => Promise<void>)[] = [];
      before(async () => {
        site = await Site.make(kind);
        for (const place of [site.router, ...site.nodes]) ends.push(await place.serve());
      });
      after(async () => {
        for (const end of ends) await end();
        await site.stop();
      });

      for (const attached of attachments) {
        for (const given of familiesOfPods) {
          it(`${attached}, ${given}: every way carries ping and TCP, and nothing is left`, async () => {
            const was = site.nodes.map(inventory);
            const pods: TrafficPod[] = [];
            try {
              const world = await populate(site, attached, given, pods);
              forward(world.pod.node, forwardsOf(world));
              assert.deepEqual(await faults(world), []);
            } finally {
              await Promise.all(pods.map((pod) => pod.stop()));
            }
            assert.deepEqual(site.nodes.map(inventory), was);
            for (const { ipam } of site.nodes) assert.equal(ipam.held.size, 0);
          });
        }
      }
    });
  }
}

/** The Pods of one turn, each also put into `pods`. The network is told by the first one's ADD alone where its addresses are. */
async function populate(site: Site, attached: Attached, given: Families, pods: TrafficPod[]): Promise<World> {
  const [first, second] = site.nodes;
  const { kind } = site;
  const start = async (name: keyof typeof hosts, node = first, vlan = kind.vlan) => {
    const options = { attached, families: given, host: hosts[name], vlan, checked: name === "pod" };
    const pod = await TrafficPod.start(site, name, node, options);
    pods.push(pod);
    return pod;
  };
  const dev = kind.vlan === undefined ? "wan" : "leg";
  rememberOthers(site, dev, given);
  const pod = await start("pod");
  const mac = pod.netns.rtnl.link(pod.nic)?.mac ?? "";
  for (const family of pod.families) {
    const told = () => {
      const known = site.router.netns.rtnl.neighbours({ family, link: dev });
      return known.find(({ ip }) => formatIp(ip) === pod.address(family))?.mac;
    };
    await until(`what the router was told of ${pod.address(family)}`, told, (found) => found === mac);
  }
  const port = () => site.switchPortOf(mac) ?? "none";
  // The first packet of a Pod goes through Open vSwitch's process.
  await until(`the switch's port of ${mac}`, port, (found) => found.startsWith(`${first.name}-`));
  return {
    site,
    pod,
    neighbour: kind.onePerNode === true ? undefined : await start("neighbour"),
    remote: await start("remote", second),
    stranger: kind.vlan === undefined ? undefined : await start("stranger", first, kind.vlan + 1),
  };
}

/** The router knows other holders of the first Pod's addresses; the switch has seen its MAC address at the router's port. */
function rememberOthers(site: Site, dev: string, given: Families): void {
  const addresses = ([4, 6] as const).map((family) => bare(site.segment[family].prefix(hosts.pod)));
  const stale = addresses.map((address) => `neigh replace ${address} lladdr ${formerMac} dev ${dev} nud stale\n`);
  site.router.run(["ip", "-batch", "-"], stale.join(""));
  if (site.kind.sharesMac === true) return;
  const [first = ""] = given === "v6" ? addresses.slice(1) : addresses;
  const mac = derivedMac(parseIp(first));
  site.switch.run(["bridge", "fdb", "replace", mac, "dev", "router-wan", "master", "dynamic"]);
  assert.equal(site.switchPortOf(mac), "router-wan");
}

/** What does not carry what it should, a line for each. Where nothing may come, the wait goes on beside the others. */
async function faults(world: World): Promise<readonly string[]> {
  const faultsOf = async ({ title, attempt }: Way) => {
    const found: string[] = [];
    for (const family of world.pod.families satisfies readonly Family[]) {
      try {
        await attempt(world, family);
      } catch (error) {
        found.push(`${title}, IPv${family}: ${(error as Error).message}`);
      }
    }
    return found;
  };
  const silent = Promise.all(ways.filter(({ isSilent }) => isSilent).map(faultsOf));
  const found: string[] = [];
  for (const way of ways.filter(({ isSilent }) => !isSilent)) found.push(...(await faultsOf(way)));
  return [...found, ...(await silent).flat()];
}

/** Links, routes, rules, fixed neighbours and ports of a node, but for what the first Pod makes for all that follow. */
function inventory(node: SiteNode): readonly string[] {
  const { rtnl } = node.netns;
  const shared = (name: string) => /^(eth0[.]|bond0|eth[12]$)/.test(name);
  const names = new Map(rtnl.links().map(({ index, name }) => [index, name]));
  const nameOf = (index: number | undefined) => (index === undefined ? "" : (names.get(index) ?? ""));
  const of = families.dual.flatMap((family) => [
    ...rtnl
      .routes({ family, table: 0 })
      .map(({ dst, dev, table }) => [nameOf(dev), `${table} ${formatPrefix(dst)}`] as const),
    ...rtnl.neighbours({ family }).flatMap(({ ip, dev, permanent }) => {
      return permanent ? [[nameOf(dev), `neighbour ${formatIp(ip)}`] as const] : [];
    }),
  ]);
  const ports = node.uplink === "br1" ? node.openVswitch.vsctl("list-ports", "br1").split("\n") : [];
  return [
    ...[...names.values()].filter((name) => !shared(name)),
    ...of.filter(([name]) => !shared(name)).map(([name, what]) => `${name} ${what}`),
    ...ports,
  ].sort();
}
