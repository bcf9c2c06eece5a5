import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { parsePrefix } from "#ip";
import { createNetns, type LinkKind, type Netns, writeSysctl } from "#linux";
import type { Feature } from "./kinds.ts";
import { type PingOptions, ping, readAll } from "./sockets.ts";

/** Several segments, so that segmentation offload takes part. */
const answerBytes = 100_000;
const port = 80;

/** A machine of the site, or a Pod: a network namespace, and what is run inside it. */
export class Place implements Disposable {
  readonly name: string;
  readonly netns: Netns;

  constructor(name: string) {
    this.name = name;
    this.netns = createNetns(`/run/netns/${name}`);
    // Addresses of new links are in use at once: nobody else can have them.
    writeSysctl(this.netns, "net/ipv6/conf/default/accept_dad", 0);
  }

  get path(): string {
    return this.netns.path;
  }

  /** Runs a program inside. Returns what it prints. */
  run(argv: readonly string[], input = ""): string {
    const [program = "", ...args] = argv;
    // It is in the namespace of the thread that starts it: an nsenter for each would cost a user-mode kernel much.
    return this.netns.enter(() => execFileSync(program, args, { encoding: "utf8", input, stdio: "pipe" }));
  }

  /** Brings an interface up with these addresses. */
  configure(link: string, addresses: readonly string[]): void {
    const { rtnl } = this.netns;
    rtnl.setLink(link, { up: true });
    for (const address of addresses) rtnl.addAddress(link, parsePrefix(address), { nodad: true });
  }

  becomeRouter(): void {
    for (const key of ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]) writeSysctl(this.netns, key, 1);
  }

  /** Throws where `address` does not answer within the time. */
  async ping(address: string, options: PingOptions = {}): Promise<void> {
    await ping(this.netns, address, options);
  }

  /** Who answers a TCP connection, having sent all that {@link serve} sends. */
  async ask(address: string, at = port): Promise<string> {
    const answer = await readAll(this.netns, address, at);
    const name = answer.toString("latin1", 0, Math.max(0, answer.indexOf("\n")));
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

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
  }
}

/** The features that this kernel has. What it has as a module is loaded by the attempt. */
export function featuresOf(): ReadonlySet<Feature> {
  const kinds = {
    macvlan: { kind: "macvlan", parent: "try0", mode: "bridge" },
    ipvlan: { kind: "ipvlan", parent: "try0", mode: "l2" },
    vlan: { kind: "vlan", parent: "try0", id: 1 },
    bond: { kind: "bond", mode: 1 },
  } as const satisfies Partial<Record<Feature, LinkKind>>;
  using place = new Place("features");
  const { rtnl } = place.netns;
  rtnl.createVeth({ name: "try0", peer: { name: "try1" } });
  const names = Object.keys(kinds) as (keyof typeof kinds)[];
  const found = names.filter((name) => {
    return works(() => {
      rtnl.createLink({ name: "made", kind: kinds[name] });
      rtnl.deleteLink("made");
    });
  });
  const hasDatapath = works(() => void execFileSync("test", ["-e", "/sys/module/openvswitch"]));
  return new Set([...found, ...(hasDatapath ? (["openvswitch"] as const) : [])]);
}

function works(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
