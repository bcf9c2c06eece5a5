import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { benchAnnotations, prepareNetwork, threeNicsAnnotations } from "../../bench/prepare.ts";
import { createLabClient } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { rssMb } from "../../lab/scenarios/memory.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { fractionsFrom } from "../../src/base/testing/random.ts";
import type { ChurnPlan, ChurnReport } from "./churn.ts";
import { median } from "./judge.ts";

interface SoakOptions {
  readonly seconds: number;
  /** Ends earlier when so many Pods have come on each node. */
  readonly podsMax?: number;
  /** Pods at any time, on each of two nodes. */
  readonly width: number;
  /** Of each Pod: one on Open vSwitch, or macvlan, Open vSwitch and macvlan. @default 1 */
  readonly nics?: 1 | 3;
  readonly seed: number;
  /** Agents are killed and nodes cut off from the API server, at random. */
  readonly faults: boolean;
  /** Gets a file for each program. */
  readonly logDirectory?: string | undefined;
  readonly print?: (line: string) => void;
}

/** What was seen in a soak. */
export interface SoakReport {
  readonly churns: readonly ChurnReport[];
  readonly kills: number;
  readonly partitions: number;
  /** Resident memory of each node's agent: the median of each minute; a killed one begins anew. */
  readonly rssMb: ReadonlyMap<string, readonly number[]>;
  /** What was still there a while after the last Pod, by node. */
  readonly left: readonly string[];
}

const churn = fileURLToPath(new URL("churn.ts", import.meta.url));
/** What the product writes for a Pod; nothing of it outlives the Pod. */
const perPod = ["spideripaddresses", "spiderendpoints"] as const;
const faultEveryMsMax = 8_000;
const partitionMsMax = 4_000;
/**
 * Releases and link deletions finish in the background; a create with unknown outcome is checked for the last time after 60 s.
 */
const quietMsMax = 100_000;
const rssEveryMs = 2_000;

/**
 * Everything of ours on a node, one thing a line. What the node had before, its rules and routes included, is compared with
 * what it has afterwards.
 */
const inventory = `ip neigh show nud permanent | sed 's/^/neighbour /'
nft list ruleset | sed 's/^/nft /'
ls /var/run/netns | sed 's/^/namespace /'
ovs-vsctl list-ports br1 | sed 's/^/port /'
for table in Port Interface Mirror QoS; do ovs-vsctl --bare --columns=_uuid list $table | sed "s/^/$table /"; done
ip -o link | sed 's/^[0-9]*: //; s/[:@].*//; s/^/link /'
ip rule | sed 's/^/rule4 /'; ip -6 rule | sed 's/^/rule6 /'
ip route show table all | grep -v ' dev lo ' | sed 's/^/route4 /'
ip -6 route show table all | grep -v ' dev lo ' | sed 's/ expires [0-9]*sec//; s/^/route6 /'
ls -A /var/lib/spiderpool/sandboxes | sed 's/^/record /'
ls -A /run/spiderpool/intent | sed 's/^/intent /'
for p in /proc/[0-9]*; do
  if grep -aqE '[a]gent[.]mjs' $p/cmdline 2>/dev/null; then
    ls -l $p/fd | sed -nE 's#.* -> (net:.*|.*/netns/.*)#namespace held open by the agent \\1#p'
  fi
done`;

/** Churn on two nodes of a lab, with faults or without, then a look at what is left. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { seconds, podsMax, width, nics = 1, seed, faults, logDirectory, print = () => {} } = options;
  const logs = logDirectory === undefined ? { logLevel: "warn" } : { logLevel: "debug", logDirectory };
  await using lab = await launchProductLab({ nodes: 2, bridges: true, ...logs });
  const nodes = lab.nodes.map(({ name }) => name);
  await prepareNetwork(lab);
  for (const node of nodes) await lab.hold({ node, program: "kubelet", held: true });
  const annotations = nics === 1 ? benchAnnotations : threeNicsAnnotations;
  const run = (node: string, part: Pick<ChurnPlan, "seconds" | "podsMax" | "width">, at: number) => {
    const plan: ChurnPlan = {
      nodeName: node,
      apiUrl: "http://10.222.0.1:6443",
      annotations,
      nics,
      ...part,
      seed: seed + at,
    };
    return lab
      .run({ node, argv: [process.execPath, churn], input: JSON.stringify(plan) })
      .then((text) => JSON.parse(text) as ChurnReport);
  };
  // One Pod on each node makes what all Pods share, and keeps it.
  await Promise.all(nodes.map((node, at) => run(node, { seconds: 1, width: 1 }, at)));
  const before = new Map(await Promise.all(nodes.map(async (node) => [node, await settled(lab, node)] as const)));

  const stop = new AbortController();
  // The last Pods end without any: on a slow machine agents might be killed before they have done anything, for ever.
  const troubled = AbortSignal.any([stop.signal, AbortSignal.timeout(seconds * 1000)]);
  const trouble = faults ? makeTrouble(lab, seed, troubled, print) : Promise.resolve({ kills: 0, partitions: 0 });
  const memory = watchMemory(lab, nodes, stop.signal);
  const churns = await Promise.all(nodes.map((node, at) => run(node, { seconds, podsMax, width }, at)));
  stop.abort();
  const [{ kills, partitions }, rssMb] = await Promise.all([trouble, memory]);
  print(`churned: ${churns.map(({ pods, adds }) => `${pods} Pods, ${adds} ADDs`).join("; ")}`);
  const left = await whatIsLeft(lab, before);
  return { churns, kills, partitions, rssMb, left };
}

async function makeTrouble(lab: LabHandle, seed: number, signal: AbortSignal, print: (line: string) => void) {
  const random = fractionsFrom(seed + 1000);
  const nodes = lab.nodes.map(({ name }) => name);
  let [kills, partitions] = [0, 0];
  while (await slept(random() * faultEveryMsMax, signal)) {
    const node = nodes[Math.floor(random() * nodes.length)] ?? "";
    if (random() < 0.7) {
      print(`${node}: agent killed`);
      await lab.kill({ node, program: "agent", signal: "SIGKILL" }).catch(() => {}); // It may be starting just now.
      kills += 1;
    } else {
      print(`${node}: cut off from the API server`);
      await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "down"] });
      await slept(random() * partitionMsMax, signal);
      await lab.run({ node, argv: ["ip", "link", "set", "mgmt0", "up"] });
      partitions += 1;
    }
  }
  return { kills, partitions };
}

async function watchMemory(lab: LabHandle, nodes: readonly string[], signal: AbortSignal) {
  const seen = new Map(nodes.map((node) => [node, [] as number[][]]));
  const startMs = performance.now();
  while (await slept(rssEveryMs, signal)) {
    const minute = Math.floor((performance.now() - startMs) / 60_000);
    for (const [node, minutes] of seen) {
      minutes[minute] = [...(minutes[minute] ?? []), ...(await rssMb(lab, node, "agent"))];
    }
  }
  return new Map([...seen].map(([node, minutes]) => [node, minutes.map(median)]));
}

/** The inventory, when two looks in a row are the same. */
async function settled(lab: LabHandle, node: string): Promise<string> {
  for (let last = ""; ; ) {
    const now = await look(lab, node);
    if (now === last) return now;
    last = now;
    await delay(500);
  }
}

async function look(lab: LabHandle, node: string): Promise<string> {
  return (await lab.run({ node, argv: ["sh", "-c", inventory] })).split("\n").sort().join("\n");
}

async function whatIsLeft(lab: LabHandle, before: ReadonlyMap<string, string>): Promise<readonly string[]> {
  const client = createLabClient({ baseUrl: lab.url });
  const untilMs = performance.now() + quietMsMax;
  for (;;) {
    const left: string[] = [];
    for (const [node, was] of before) {
      const now = await look(lab, node);
      left.push(...beyond(now, was).map((line) => `${node}: ${line}`));
      left.push(...beyond(was, now).map((line) => `${node}: gone: ${line}`));
    }
    for (const kind of perPod) {
      const objects = await client.list(`spiderpool.spidernet.io/v2beta1/${kind}`);
      left.push(...objects.map(({ metadata }) => `${kind} ${metadata.name}`));
    }
    if (left.length === 0 || performance.now() > untilMs) return left;
    await delay(500);
  }
}

/** The lines that the first inventory has more often than the second: of two rules that read the same, one is too many. */
function beyond(one: string, other: string): readonly string[] {
  const unmatched = other.split("\n");
  return one.split("\n").filter((line) => {
    const at = unmatched.indexOf(line);
    if (at >= 0) unmatched.splice(at, 1);
    return at < 0;
  });
}

/** False when the signal came before the time was over. */
function slept(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, true, { signal }).catch(() => false);
}
