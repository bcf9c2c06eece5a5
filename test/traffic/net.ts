import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { promisify } from "node:util";
import { createNetns, type Netns, writeSysctl } from "#linux";
import type { Feature } from "./kinds.ts";

const execute = promisify(execFile);
/** Several segments, so that segmentation offload takes part. */
const answerBytes = 100_000;
const port = 80;

/** A machine of the site, or a Pod: a network namespace, and what is run inside it. */
export class Place implements Disposable {
  readonly name: string;
  readonly netns: Netns;

  /** Makes the namespace; `mkdir /run/netns` is the caller's. */
  constructor(name: string) {
    this.name = name;
    this.netns = createNetns(`/run/netns/${name}`);
    // Addresses of new links are in use at once: nobody else can have them.
    writeSysctl(this.netns, "net/ipv6/conf/default/accept_dad", 0);
  }

  get path(): string {
    return this.netns.path;
  }

  /** Runs commands of the shell one after the other, with the first failure's end. Returns what they print. */
  sh(script: string): string {
    const argv = [`--net=${this.path}`, "sh", "-ec", script];
    return execFileSync("nsenter", argv, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  /** Throws where `address` does not answer within the time. */
  async ping(address: string, { bytes = 56, seconds = 2 }: { bytes?: number; seconds?: number } = {}): Promise<void> {
    const unfragmented = ["-M", "do", "-s", String(bytes)];
    await this.#run("ping", "-n", "-c", "1", "-W", String(seconds), ...unfragmented, address);
  }

  /** Who answers a TCP connection, having sent all that {@link serve} sends. */
  async ask(address: string, at = port): Promise<string> {
    const answer = await this.#run("busybox", "nc", "-w", "5", address, String(at));
    const name = answer.slice(0, answer.indexOf("\n"));
    return answer.length === answerBytes ? name : `${name || "nobody"}, ${answer.length} bytes`;
  }

  /** Answers every connection to port 80, on all addresses, with its name and much more. Returns what ends it. */
  async serve(): Promise<() => Promise<void>> {
    const answer = Buffer.alloc(answerBytes, ".");
    answer.write(`${this.name}\n`);
    const server: Server = createServer((socket) => socket.on("error", () => {}).end(answer));
    server.unref();
    // Without a host to look up, the socket is made before listen() returns.
    this.netns.enter(() => void server.listen(port));
    if (!server.listening) await once(server, "listening");
    return async () => {
      const closed = once(server, "close");
      server.close();
      await closed;
    };
  }

  async #run(...argv: readonly string[]): Promise<string> {
    const running = execute("nsenter", [`--net=${this.path}`, ...argv], { encoding: "latin1" });
    running.child.stdin?.end();
    return (await running).stdout;
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
  }
}

/** The features that this kernel has. What it has as a module is loaded by the attempt. */
export function featuresOf(): ReadonlySet<Feature> {
  const links = {
    macvlan: "link add try0 type veth peer name try1\nlink add link try0 name try2 type macvlan",
    ipvlan: "link add try0 type veth peer name try1\nlink add link try0 name try2 type ipvlan",
    vlan: "link add try0 type veth peer name try1\nlink add link try0 name try2 type vlan id 1",
    bond: "link add try0 type bond",
  } as const;
  const works = (argv: readonly string[], input: string) => {
    try {
      execFileSync("unshare", ["--net", ...argv], { input, stdio: ["pipe", "ignore", "ignore"] });
      return true;
    } catch {
      return false;
    }
  };
  const found = Object.entries(links).filter(([, batch]) => works(["ip", "-batch", "-"], `${batch}\n`));
  const hasDatapath = works(["test", "-e", "/sys/module/openvswitch"], "");
  return new Set([...found.map(([name]) => name as Feature), ...(hasDatapath ? (["openvswitch"] as const) : [])]);
}

/** iptables that this kernel can do: by nf_tables, else the older one. */
export function iptables(): { readonly 4: string; readonly 6: string } {
  try {
    execFileSync("unshare", ["--net", "iptables", "-t", "nat", "-N", "try"], { stdio: "ignore" });
    return { 4: "iptables", 6: "ip6tables" };
  } catch {
    return { 4: "iptables-legacy", 6: "ip6tables-legacy" };
  }
}
