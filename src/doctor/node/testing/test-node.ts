import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { silentLogger, systemClock } from "#base";
import { formatShimSettings } from "#cni";
import { parsePrefix } from "#ip";
import { hostNetns } from "#linux";
import { createOvs, type Ovs, portOwnerTag } from "#ovsdb";
import { until } from "../../../base/testing/until.ts";
import { type OpenVswitch, startOpenVswitch } from "../../../ovsdb/testing/open-vswitch.ts";
import { type Finding, runChecks } from "../../check.ts";
import { nodePaths, observeNode } from "../../observe/observe.ts";
import { nodeChecks } from "../checks.ts";
import type { NetworkFacts, PodFacts } from "../facts.ts";

/** Ends every wait of a test. */
export const signal = AbortSignal.timeout(120_000);
/** Runs shell commands; throws if one fails. */
export const sh = (command: string, path = process.env["PATH"]) =>
  execFileSync("sh", ["-ec", command], { encoding: "utf8", env: { ...process.env, PATH: path }, stdio: "pipe" });

/** The command for the Pod's route on the node, as the coordinator makes it. */
export const podRoute = "ip route add 10.6.0.9/32 dev vethpod1 table 500";

/**
 * A node that is healthy once its agent has started: real links and a real Open vSwitch in the namespaces of this test file,
 * and a folder in place of the node's files. To be made in an isolated test file.
 */
export class TestNode {
  readonly folder = mkdtempSync(join(tmpdir(), "doctor-"));
  readonly vswitch: OpenVswitch = startOpenVswitch();
  readonly ovs: Ovs & AsyncDisposable;
  networks: readonly NetworkFacts[] = [{ name: "kube-system/br1", bridge: "br1", vlans: [0, 30] }];
  /** The bridges that this node must have. */
  bridges: readonly string[] = ["br1"];
  readonly #stubs: string;
  #agent: Server | undefined;

  constructor() {
    this.ovs = createOvs({ endpoint: this.vswitch.endpoint, clock: systemClock, log: silentLogger });
    this.#stubs = this.path("stubs");
    for (const name of ["etc", "run", "usr", "net.d", "bin", "state"]) mkdirSync(this.path(name));
    this.write("net.d/00-multus.conf", "{}");
    this.write("net.d/10-calico.conflist", "{}");
    const program = "the shim";
    this.write("bin/.spiderpool-shim", program);
    linkSync(this.path("bin/.spiderpool-shim"), this.path("bin/ovs"));
    this.write("bin/.spiderpool-socket", formatShimSettings({ socketPath: this.path("cni.sock") }));
    const sha256 = createHash("sha256").update(program).digest("hex");
    const files = ["ovs", ".spiderpool-shim"].map((name) => ({ path: this.path(`bin/${name}`), sha256 }));
    this.write("state/installed.json", JSON.stringify({ format: 1, files }));
    this.token(3_600);
    this.write("apparmor", "unconfined\n");
    this.write("etc/containerd/config.toml", this.containerd(this.path("net.d"), this.path("bin")));
    // Commands of fixes that must not act on this machine: they only note their arguments.
    this.stub("systemctl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("spiderpoolctl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("helm", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("kubectl", 'printf "%s\\n" "$*" >> "$LOG"');
    this.stub("ovs-vsctl", `exec ${sh("command -v ovs-vsctl").trim()} --db=${this.vswitch.endpoint} "$@"`);
    sh("ip link add up1 type veth peer name far1 && ip link set up1 up && ip link set far1 up");
    sh("ip link add vethpod1 type veth peer name eth0 && ip link set vethpod1 up && ip link set eth0 up");
    sh(
      "ip addr add 10.6.0.9/16 dev eth0 && ip route add 10.0.0.0/8 via 10.6.0.1 dev eth0 && ip rule add pref 1000 lookup 500 && sysctl -qw net.ipv4.conf.all.rp_filter=0",
    );
    sh(podRoute);
    // The gateway of the Pod's network: another namespace's, behind the same bridge.
    sh("ip link add gw1 type veth peer name gw0 && ip netns add gateway && ip link set gw0 netns gateway");
    sh("ip link set gw1 up && ip netns exec gateway ip addr add 10.6.0.1/16 dev gw0");
    sh("ip netns exec gateway ip link set gw0 up");
    this.vswitch.addBridge("br1");
    this.vswitch.vsctl("add-port", "br1", "up1");
    this.vswitch.vsctl("add-port", "br1", "gw1");
    this.ownPort("vethpod1");
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
  }

  token(leftS: number): void {
    const now = Math.floor(Date.now() / 1000);
    const payload = Buffer.from(JSON.stringify({ iat: now + leftS - 3_600, exp: now + leftS })).toString("base64url");
    this.write("token", `e30.${payload}.sig`);
  }

  containerd(confDir: string, binDir: string): string {
    return `[plugins."io.containerd.cri.v1.runtime".cni]\n  conf_dir = "${confDir}"\n  bin_dir = "${binDir}"\n`;
  }

  ownPort(name: string): void {
    const ids = ["contNetns=/n", "contIface=eth0", `owner=${portOwnerTag}`].map((one) => `external_ids:${one}`);
    this.vswitch.vsctl("--no-wait", "add-port", "br1", name, "--", "set", "port", name, ...ids);
  }

  stub(name: string, text: string): void {
    this.write(`stubs/${name}`, `#!/bin/sh\nLOG=${this.path("called")}\n${text}\n`);
    chmodSync(this.path(`stubs/${name}`), 0o755);
  }

  /** The arguments of these commands, a line for each call. */
  get called(): string {
    return existsSync(this.path("called")) ? readFileSync(this.path("called"), "utf8") : "";
  }

  async startAgent(): Promise<void> {
    this.#agent = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => this.#agent?.listen(this.path("cni.sock"), resolve));
  }

  async stopAgent(): Promise<void> {
    await new Promise((resolve) => this.#agent?.close(resolve) ?? resolve(undefined));
  }

  pods(): readonly PodFacts[] {
    const addresses = [{ address: parsePrefix("10.6.0.9/16"), gateway: "10.6.0.1", pool: "pool1" }];
    const nic = { ifName: "eth0", network: "kube-system/br1", addresses, hostLinks: ["vethpod1"], hasLink: true };
    const nics = [{ ...nic, bridge: "br1", hostRuleTable: 500 }];
    // The Pod's end is in the node's namespace: so one namespace has both ends of the path.
    return [{ pod: "default/web-0", netnsPath: hostNetns().path, nics }];
  }

  async examine(): Promise<readonly Finding[]> {
    const local = (name: string) => this.path(name);
    const paths = {
      ...nodePaths,
      etc: local("etc"),
      run: local("run"),
      usrLib: local("usr"),
      confDir: local("net.d"),
      binDir: local("bin"),
      stateDir: local("state"),
      token: local("token"),
      appArmor: local("apparmor"),
    };
    const facts = await observeNode({
      node: "node1",
      namespace: "kube-system",
      paths,
      host: hostNetns(),
      ovs: this.ovs,
      endpoint: this.vswitch.endpoint,
      networks: this.networks,
      bridges: this.bridges,
      pods: this.pods(),
      isAgent: true,
      now: new Date(),
      signal,
    });
    return runChecks(nodeChecks, facts, "node1");
  }

  /** Examines the node until the findings are as expected: our picture of Open vSwitch follows a moment later. */
  async examineUntil(isSo: (ids: readonly string[]) => boolean): Promise<readonly Finding[]> {
    return until(
      "other findings",
      () => this.examine(),
      (found) => isSo(found.map(({ id }) => id)),
    );
  }

  fix({ fix }: Finding, uplink: string): void {
    sh(fix.join("\n").replaceAll("INTERFACE", uplink), `${this.#stubs}:${process.env["PATH"]}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent();
    await this.ovs[Symbol.asyncDispose]();
    await this.vswitch[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}
