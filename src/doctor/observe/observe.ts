import { connect } from "node:net";
import { setImmediate } from "node:timers/promises";
import { codeOf, formatError, withTimeout } from "#base";
import { formatIp, type Ip, parseIp } from "#ip";
import { type Netns, openNetns, probe, readSysctl } from "#linux";
import type { Ovs } from "#ovsdb";
import { bridgesOf, type NetworkFacts, type NodeFacts, type PodFacts, type PodNic } from "../node/facts.ts";
import {
  observeAppArmor,
  observeCni,
  observeNetworkd,
  observeNetworkManager,
  observeRuntime,
  observeToken,
  readShimSocket,
} from "./files.ts";
import type { NodePaths } from "./paths.ts";

export { nodePaths } from "./paths.ts";

/** Where to look at the node, and what should be there according to the cluster. */
export interface ObserveOptions {
  readonly node: string;
  readonly namespace: string;
  readonly paths: NodePaths;
  readonly host: Netns;
  readonly ovs: Ovs;
  /** The endpoint of `ovs`, for texts. */
  readonly endpoint: string;
  readonly networks: readonly NetworkFacts[];
  /** Bridges that must be on this node. @default none */
  readonly bridges?: readonly string[];
  readonly pods: readonly PodFacts[];
  /** True in the agent's own process, whose token and AppArmor profile are then read. */
  readonly isAgent: boolean;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** How long anything may take to answer. All are asked at once, so looking at a node takes little longer. */
const answerMsMax = 2_000;
/** If nobody answers for so long, nobody else has an address (like `conflictMsMax` of the plugins). */
const rivalMsMax = 100;
const gatewaysMax = 16;

/** Reads the facts for the checks of a node. It takes a few seconds at most and changes nothing. */
export async function observeNode(options: ObserveOptions): Promise<NodeFacts> {
  const { node, namespace, paths, networks, bridges = [], pods, isAgent, now, signal } = options;
  const seen = (path: string) => (/^\/(etc|run|usr)(\/|$)/.test(path) ? `${paths.root}${path}` : path);
  // The runtime's directories are mounted at the node's own paths.
  const plain = (path: string) => path;
  const socket = readShimSocket(paths, plain);
  const [ovs, gateways, lostNics, socketError] = await Promise.all([
    observeOvs(options),
    observeGateways(pods, signal),
    observeLostNics(pods),
    socket === undefined ? undefined : whyNotConnected(socket, signal),
  ]);
  return {
    node,
    namespace,
    now,
    networks,
    bridges,
    pods,
    lostNics,
    gateways,
    ovs,
    cni: observeCni(paths, plain),
    runtime: observeRuntime(paths, seen),
    agentSocket: socket === undefined ? undefined : { path: socket, error: socketError },
    token: isAgent ? observeToken(paths) : undefined,
    appArmor: isAgent ? observeAppArmor(paths) : undefined,
    networkManager: observeNetworkManager(paths, seen),
    networkd: observeNetworkd(paths, seen),
    host: observeHost(options),
  };
}

async function observeOvs({ ovs, endpoint, signal, networks, pods }: ObserveOptions): Promise<NodeFacts["ovs"]> {
  // A node may have no Open vSwitch. It is waited for only if something needs it.
  const isWanted = bridgesOf({ networks, pods }).size > 0;
  try {
    using deadline = withTimeout(signal, isWanted ? answerMsMax : answerMsMax / 10, () => new Error("no answer"));
    await ovs.synced({ signal: deadline });
    return { endpoint, error: undefined, bridges: [...ovs.bridges().values()], ports: [...ovs.ports().values()] };
  } catch (error) {
    signal.throwIfAborted();
    const { state } = ovs;
    const why = state.kind === "disconnected" ? state.error : formatError(error);
    return { endpoint, error: why, bridges: [], ports: [] };
  }
}

function observeHost({ host, pods }: ObserveOptions): NodeFacts["host"] {
  const { rtnl } = host;
  const links = rtnl.links();
  const nameOf = (index: number | undefined) => links.find((link) => link.index === index)?.name ?? "";
  const ends = pods.flatMap(({ nics }) => nics.flatMap(({ hostLinks }) => hostLinks));
  const filters = ["all", ...ends].flatMap((name) => {
    const value = readSysctl(host, `net/ipv4/conf/${name}/rp_filter`);
    return value === undefined ? [] : [[name, Number(value)] as const];
  });
  return {
    links,
    addresses: rtnl.addresses().map(({ link, address }) => ({ dev: nameOf(link), address })),
    defaultRoutes: ([4, 6] as const).flatMap((family) =>
      rtnl
        .routes({ family })
        .filter(({ dst }) => dst.bits === 0)
        .flatMap(({ dev, gw }) => (gw === undefined ? [] : [{ dev: nameOf(dev), gateway: formatIp(gw), family }])),
    ),
    rules: ([4, 6] as const).flatMap((family) =>
      rtnl.rules(family).map(({ pref, table }) => ({ family, pref, table })),
    ),
    rpFilters: new Map(filters),
  };
}

/** Looks into each Pod, and lets the event loop run between two: a node has hundreds. */
async function observeLostNics(pods: readonly PodFacts[]): Promise<NodeFacts["lostNics"]> {
  const lost: { readonly pod: string; readonly ifName: string }[] = [];
  for (const { pod, netnsPath, nics } of pods) {
    await setImmediate();
    try {
      using netns = openNetns(netnsPath);
      for (const { ifName, hasLink } of nics) {
        if (hasLink && netns.rtnl.link(ifName) === undefined) lost.push({ pod, ifName });
      }
    } catch {
      // The Pod has ended meanwhile.
    }
  }
  return lost;
}

/** Probes each gateway once, from the first Pod that has it; at most 16 gateways. */
export async function observeGateways(pods: readonly PodFacts[], signal: AbortSignal): Promise<NodeFacts["gateways"]> {
  const asked = new Map<
    string,
    { readonly pod: PodFacts; readonly nic: PodNic; readonly own: Ip; readonly pool: string }
  >();
  for (const pod of pods) {
    for (const nic of pod.nics) {
      for (const { gateway, address, pool } of nic.addresses) {
        const key = `${nic.network} ${gateway}`;
        if (gateway === undefined || asked.has(key) || asked.size >= gatewaysMax) continue;
        asked.set(key, { pod, nic, own: address.ip, pool });
      }
    }
  }
  const answers = await Promise.all(
    [...asked].map(async ([key, { pod, nic, own, pool }]) => {
      const gateway = key.slice(nic.network.length + 1);
      const answered = await gatewayAnswers(pod.netnsPath, nic.ifName, parseIp(gateway), own, signal);
      return answered === undefined ? [] : [{ gateway, pool, pod: pod.pod, ifName: nic.ifName, answered }];
    }),
  );
  return answers.flat();
}

/**
 * Finds other hosts on the segment that answer for addresses of a Pod, in the same way as an ADD. Returns their MAC addresses
 * by the Pod's address.
 */
export async function observeRivals(
  { nics, netnsPath }: PodFacts,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const asked = nics.flatMap(({ ifName, addresses }) => addresses.map(({ address: { ip } }) => ({ ifName, ip })));
  const answers = await Promise.all(
    asked.map(async ({ ifName, ip }) => {
      try {
        using netns = openNetns(netnsPath);
        const mac = await probe(netns, ifName, ip, { timeoutMs: rivalMsMax, signal });
        // If a Pod has two NICs on one segment, each answers for the other's address.
        const isOwn = netns.rtnl.links().some((link) => link.mac === mac);
        return mac === undefined || isOwn ? [] : [[formatIp(ip), mac] as const];
      } catch {
        signal.throwIfAborted();
        return []; // The Pod ended meanwhile, or its interface is down, which `observePaths` shows.
      }
    }),
  );
  return new Map(answers.flat());
}

/** Whether the gateway answers; undefined if the Pod has ended meanwhile. */
async function gatewayAnswers(
  netnsPath: string,
  ifName: string,
  gateway: Ip,
  source: Ip,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  try {
    using netns = openNetns(netnsPath);
    return (await probe(netns, ifName, gateway, { source, timeoutMs: answerMsMax, signal })) !== undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Why nobody accepts connections on a socket, as a phrase; undefined if somebody does. */
async function whyNotConnected(path: string, signal: AbortSignal): Promise<string | undefined> {
  const socket = connect(path);
  try {
    using deadline = withTimeout(signal, answerMsMax, () => new Error("no answer"));
    return await new Promise<string | undefined>((resolve, reject) => {
      socket.once("connect", () => resolve(undefined));
      socket.once("error", (error) =>
        resolve(codeOf(error) === "ENOENT" ? "there is no such socket" : "nobody listens there"),
      );
      deadline.addEventListener("abort", () => reject(deadline.reason), { once: true });
    });
  } catch (error) {
    signal.throwIfAborted();
    return formatError(error);
  } finally {
    socket.destroy();
  }
}
