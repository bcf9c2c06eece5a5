import { execFileSync } from "node:child_process";
import type { ReplyMarks } from "#plugins";
import type { Place } from "./net.ts";

/** Of a DNAT: what goes to `from` and its port goes to `to`, port 80. */
export interface Forward {
  readonly from: string;
  readonly port: number;
  readonly to: string;
  /** With the node's own address as source. */
  readonly masquerade: boolean;
}

/** False in a user-mode kernel, whose nf_tables know neither inet nor NAT: it has the older iptables. */
const hasNftables = works("iptables");
const variant = hasNftables ? "" : "-legacy";

/** As kube-proxy does on a node; replaces what an earlier call made. */
export function forward(node: Place, forwards: readonly Forward[]): void {
  for (const family of [4, 6] as const) {
    const own = forwards.filter(({ from }) => from.includes(":") === (family === 6));
    const rules = own.flatMap(({ from, port, to, masquerade }) => {
      const match = `-d ${from} -p tcp --dport ${port} -j DNAT --to-destination ${family === 6 ? `[${to}]` : to}:80`;
      return [
        ...["PREROUTING", "OUTPUT"].map((chain) => `-A ${chain} ${match}`),
        ...(masquerade ? [`-A POSTROUTING -m conntrack --ctstate DNAT --ctorigdst ${from} -j MASQUERADE`] : []),
      ];
    });
    restore(node, family, "nat", rules);
  }
}

/** The node passes nothing on to these addresses. */
export function refuse(node: Place, addresses: readonly string[]): void {
  for (const family of [4, 6] as const) {
    const own = addresses.filter((address) => address.includes(":") === (family === 6));
    restore(
      node,
      family,
      "filter",
      own.map((address) => `-A FORWARD -d ${address} -j DROP`),
    );
  }
}

/** What marks replies where the kernel's nf_tables cannot; undefined where they can: the coordinator's own way is taken. */
export function olderReplyMarks(): ReplyMarks | undefined {
  if (hasNftables) return undefined;
  const marked = new Set<bigint>();
  return {
    ensure: (pod, link, mark) => {
      const rules = [
        `-A PREROUTING -i ${link} -m conntrack --ctstate NEW -j MARK --or-mark ${mark}`,
        `-A PREROUTING -m mark --mark ${mark}/${mark} -j CONNMARK --or-mark ${mark}`,
        `-A OUTPUT -m connmark --mark ${mark}/${mark} -j MARK --or-mark ${mark}`,
      ];
      const place = { run: (argv: readonly string[], input: string) => runIn(pod.path, argv, input) };
      for (const family of [4, 6] as const) restore(place, family, "mangle", rules);
      marked.add(pod.id.inode);
    },
    has: ({ id }) => marked.has(id.inode),
  };
}

function restore(place: Pick<Place, "run">, family: 4 | 6, table: string, rules: readonly string[]): void {
  const program = `ip${family === 6 ? "6" : ""}tables${variant}-restore`;
  place.run([program], [`*${table}`, ...rules, "COMMIT", ""].join("\n"));
}

function runIn(netns: string, argv: readonly string[], input: string): string {
  return execFileSync("nsenter", [`--net=${netns}`, ...argv], { encoding: "utf8", input });
}

function works(program: string): boolean {
  try {
    execFileSync("unshare", ["--net", program, "-t", "nat", "-N", "try"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
