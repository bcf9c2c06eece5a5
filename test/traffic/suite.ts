import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Families, Family } from "./addresses.ts";
import type { Kind } from "./kinds.ts";
import { featuresOf } from "./net.ts";
import { type Attached, TrafficPod } from "./pods.ts";
import { Site } from "./site.ts";
import { type World, ways } from "./ways.ts";

const attachments: readonly Attached[] = ["underlay", "overlay + underlay"];
const familiesOfPods: readonly Families[] = ["v4", "v6", "dual"];
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
      lacking.length > 0 && `this kernel has no ${lacking.join(", ")}: test/uml.test.ts runs it in one that has`;
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
        for (const families of familiesOfPods) {
          it(`${attached}, ${families}: every way carries ping and TCP, and nothing is left`, async () => {
            const was = site.nodes.map(inventory);
            const pods: TrafficPod[] = [];
            try {
              assert.deepEqual(await faults(await populate(site, attached, families, pods)), []);
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

/** The Pods of one turn, each also put into `pods`. The network knew other holders of the first one's addresses, and knows better after its ADD. */
async function populate(site: Site, attached: Attached, families: Families, pods: TrafficPod[]): Promise<World> {
  const [first, second] = site.nodes;
  const { kind } = site;
  const start = async (name: keyof typeof hosts, node = first, vlan = kind.vlan) => {
    const pod = await TrafficPod.start(site, name, node, { attached, families, host: hosts[name], vlan });
    pods.push(pod);
    return pod;
  };
  const dev = kind.vlan === undefined ? "wan" : "leg";
  const former = ([4, 6] as const).map((family) => site.segment[family].prefix(hosts.pod).replace(/\/.*/, ""));
  for (const address of former) site.router.sh(`ip neigh replace ${address} lladdr ${formerMac} dev ${dev} nud stale`);
  const pod = await start("pod");
  const mac = pod.netns.rtnl.link(pod.nic)?.mac ?? "";
  for (const family of pod.families) {
    const known = site.router.sh(`ip neigh show ${pod.address(family)} dev ${dev}`);
    assert.ok(known.includes(`lladdr ${mac}`), `the router was not told of ${pod.address(family)}: ${known}`);
  }
  return {
    site,
    pod,
    neighbour: kind.onePerNode === true ? undefined : await start("neighbour"),
    remote: await start("remote", second),
    stranger: kind.vlan === undefined ? undefined : await start("stranger", first, kind.vlan + 1),
  };
}

/** What does not carry what it should, a line for each. */
async function faults(world: World): Promise<readonly string[]> {
  const found: string[] = [];
  for (const { title, attempt } of ways) {
    for (const family of world.pod.families satisfies readonly Family[]) {
      try {
        await attempt(world, family);
      } catch (error) {
        const { message, stdout = "" } = error as Error & { stdout?: string };
        found.push(`${title}, IPv${family}: ${message} ${stdout}`.replaceAll("\n", " "));
      }
    }
  }
  return found;
}

/** Links, routes, rules, fixed neighbours and ports of a node; what the first Pod makes for all is not among them. */
function inventory(node: Site["nodes"][number]): string {
  const seen = node.sh(`ip -o link | sed 's/^[0-9]*: //; s/[:@].*//' | grep -v '^eth0[.]\\|^bond0'
for family in -4 -6; do
  ip $family route show table all | grep -v 'fe80::\\|bond0\\|eth0[.]'; ip $family neigh show nud permanent
done`);
  const ports = node.uplink === "br1" ? node.openVswitch.vsctl("list-ports", "br1") : "";
  return [...seen.trim().split("\n"), ...ports.split("\n")].sort().join("\n");
}
