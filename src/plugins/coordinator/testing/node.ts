import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before } from "node:test";
import { promisify } from "node:util";
import { type FailPoint, type JsonObject, silentLogger, Tasks } from "#base";
import type { Attachment, CniResult } from "#cni";
import { parseIp, parsePrefix } from "#ip";
import { createNetns, hostNetns, openNetns, writeSysctl } from "#linux";
import { configureInterface } from "../../configure.ts";
import { deadline, runSteps } from "../../testing/run-steps.ts";
import type { ClusterConfig } from "../config.ts";
import { hostVethName } from "../plan.ts";
import { createCoordinatorPlugin } from "../plugin.ts";

const run = promisify(execFile);

const cluster: ClusterConfig = {
  mode: "auto",
  serviceCIDR: ["10.96.0.0/12", "fd00:96::/112"],
  hijackCIDR: ["169.254.0.0/16"],
  hostRuleTable: 500,
  vethMTU: 1400,
};

/** A Pod of {@link coordinatorNode}. */
type Pod = ReturnType<ReturnType<typeof coordinatorNode>["pod"]>;

/**
 * A node with Pods that the coordinator plugin works on, for a test file in namespaces of its own; it is made before the
 * file's tests.
 */
export function coordinatorNode() {
  const tasks = new Tasks(silentLogger);
  const host = hostNetns();
  let pods = 0;

  /**
   * The node has an interface of its own, a bridge without addresses that is the underlay, and forwards for a client
   * behind it. The service addresses are on an interface as kube-proxy's.
   */
  before(() => {
    using client = createNetns("/run/netns/client");
    host.rtnl.createLink({ name: "underlay", kind: { kind: "bridge" }, up: true, addrGenModeNone: true });
    host.rtnl.createVeth({ name: "node0", up: true, peer: { name: "eth0", netns: client, up: true } });
    for (const [v4, v6, { rtnl }, dev] of [
      ["172.18.0.3/24", "fc00:f853::3/64", host, "node0"],
      ["172.18.0.9/24", "fc00:f853::9/64", client, "eth0"],
    ] as const) {
      rtnl.addAddress(dev, parsePrefix(v4));
      rtnl.addAddress(dev, parsePrefix(v6), { nodad: true });
    }
    for (const family of [4, 6] as const) {
      const dst = parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0");
      const gw = (v4: string, v6: string) => parseIp(family === 4 ? v4 : v6);
      client.rtnl.addRoute({ dst, gw: gw("172.18.0.3", "fc00:f853::3") });
      host.rtnl.addRoute({ dst, gw: gw("172.18.0.9", "fc00:f853::9") });
    }
    host.rtnl.createVeth({ name: "kube-ipvs0", up: true, peer: { name: "kube-ipvs1", up: true } });
    for (const service of ["10.96.0.1/32", "fd00:96::1/128"])
      host.rtnl.addAddress("kube-ipvs0", parsePrefix(service), { nodad: true });
    writeSysctl(host, "net/ipv4/ip_forward", 1);
    writeSysctl(host, "net/ipv6/conf/all/forwarding", 1);
  });
  after(() => tasks.stop());

  /** In the namespace of the client behind the node. */
  const client = (...argv: readonly string[]) => enter("/run/netns/client", argv);

  function enter(netns: string, argv: readonly string[]): string {
    return execFileSync("nsenter", [`--net=${netns}`, ...argv], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** A Pod whose eth0 is on the underlay, where nobody answers for its gateway. */
  function pod(addresses: readonly string[], raw: JsonObject = {}, config: Partial<ClusterConfig> | Error = {}) {
    const containerId = `container-${String(++pods).padStart(3, "0")}`.slice(4);
    const netns = `/run/netns/${containerId}`;
    createNetns(netns)[Symbol.dispose]();
    addNic("eth0", addresses, ["10.6.0.1", "fd06::1"]);
    const plugin = createCoordinatorPlugin({
      host,
      clusterConfig: async () => {
        await Promise.resolve();
        if (config instanceof Error) throw config;
        return { ...cluster, ...config };
      },
      tasks,
    });
    const prevResult: CniResult = { interfaces: [], ips: [], routes: [] };
    const attachmentOf = (ifName: string): Attachment => {
      return { containerId, ifName, netns, pod: undefined, args: new Map() };
    };
    const decode = (object: JsonObject) =>
      plugin.decode({ cniVersion: "1.0.0", name: "n", type: "coordinator", raw: object, prevResult });
    const decoded = decode(raw);

    function addNic(name: string, ips: readonly string[], gateways: readonly string[]): void {
      using here = openNetns(netns);
      const outside = `u${pods}${name}`;
      const { peer } = host.rtnl.createVeth({ name: outside, peer: { name, netns: here } });
      host.rtnl.setLink(outside, { master: "underlay", up: true });
      configureInterface(here, peer, {
        ips: ips.map((text) => ({ address: parsePrefix(text) })),
        routes: ips.map((text) => {
          const { family } = parsePrefix(text).ip;
          const gw = gateways.map((one) => parseIp(one)).find((one) => one.family === family);
          return {
            dst: parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0"),
            ...(gw !== undefined && { gw }),
            priority: name === "eth0" ? 0 : 100 + peer.index,
          };
        }),
      });
    }

    /** As an overlay network would: eth0 leads to the node alone, which has routes to the Pod's addresses. */
    function becomeOverlay(ips: readonly string[]): void {
      using here = openNetns(netns);
      here.rtnl.deleteLink("eth0");
      const outside = `cali${pods}`;
      const { index, mac, peer } = host.rtnl.createVeth({
        name: outside,
        addrGenModeNone: true,
        up: true,
        peer: { name: "eth0", netns: here },
      });
      host.rtnl.addAddress(index, parsePrefix("fe80::1/64"), { nodad: true });
      const gateways = ["169.254.1.1", "fe80::1"].map((text) => parseIp(text));
      configureInterface(here, peer, { ips: ips.map((text) => ({ address: parsePrefix(text) })), routes: [] });
      for (const text of ips) {
        const dst = parsePrefix(text);
        host.rtnl.addRoute({ dst, dev: index });
        const gw = gateways.find(({ family }) => family === dst.ip.family);
        const all = parsePrefix(dst.ip.family === 4 ? "0.0.0.0/0" : "::/0");
        here.rtnl.addRoute({ dst: all, dev: peer.index, onlink: true, ...(gw !== undefined && { gw }) });
      }
      for (const gw of gateways) here.rtnl.setNeighbour(peer.index, gw, mac);
    }

    return {
      containerId,
      netns,
      prevResult,
      becomeOverlay,
      hostName: hostVethName(containerId),
      addNic,
      add: (ifName = "eth0", failPoint?: FailPoint, more: JsonObject = {}) => {
        const config = Object.keys(more).length === 0 ? decoded : decode({ ...raw, ...more });
        return runSteps((steps) => plugin.add(config, attachmentOf(ifName), steps), failPoint);
      },
      verify: (ifName: string, interfaces: readonly string[]) =>
        plugin.verify?.(decoded, attachmentOf(ifName), interfaces, deadline()),
      check: (ifName = "eth0") => plugin.check(decoded, attachmentOf(ifName), deadline()),
      del: (ifName = "eth0", more: Partial<Attachment> = {}) =>
        plugin.del(decoded, { ...attachmentOf(ifName), ...more }, deadline()),
      inside: (...argv: readonly string[]) => enter(netns, argv),
    };
  }
  /** Until the first answer: the kernel drops what is sent by a link that has only just come up. */
  const ping = (address: string) => ["ping", "-c", "1", "-i", "0.2", "-w", "60", address];
  const onNode = (...argv: readonly string[]) => execFileSync(argv[0] ?? "", argv.slice(1), { encoding: "utf8" });

  /** Neither link nor route nor neighbour of the Pod is left on the node. */
  async function assertNothingLeft({ hostName }: Pod, addresses: readonly string[]): Promise<void> {
    await host.rtnl.deleteLinksLater([hostName]); // Waits for deletions that were queued before.
    assert.equal(host.rtnl.link(hostName), undefined);
    const left = [
      onNode("ip", "route", "show", "table", "all"),
      onNode("ip", "-6", "route", "show", "table", "all"),
      onNode("ip", "neigh", "show", "nud", "permanent"),
    ].join("");
    for (const address of addresses) assert.ok(!left.includes(`${address} `), left);
  }

  /** What a server in the Pod sends to the node. */
  async function fromPodServer(one: Pod, address: string): Promise<string> {
    const listen = `require("net").createServer((s) => s.end("hello")).listen(80, "::", () => console.log("listening"))`;
    const argv = ["--pdeathsig", "KILL", "nsenter", `--net=${one.netns}`, process.execPath, "-e", listen];
    const listening = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(listening, "exit");
    try {
      await once(listening.stdout, "data", deadline());
      const socket = connect(80, address);
      const [data] = (await once(socket, "data", deadline())) as [Buffer];
      socket.destroy();
      return data.toString();
    } finally {
      listening.kill();
      await exited;
    }
  }

  /** The client's address that a server on the node sees when the Pod connects to a service. */
  async function seenByService(one: Pod, service: string): Promise<string | undefined> {
    let seen: string | undefined;
    const server = createServer((socket) => {
      seen = socket.remoteAddress;
      socket.end();
    }).listen(80, service);
    await once(server, "listening");
    try {
      const dial = `require("net").connect(80, "${service}").on("end", () => process.exit()).resume()`;
      await run("nsenter", [`--net=${one.netns}`, process.execPath, "-e", dial], { timeout: 120_000 });
      return seen;
    } finally {
      server.close();
    }
  }

  return { host, pod, client, onNode, ping, assertNothingLeft, fromPodServer, seenByService };
}
