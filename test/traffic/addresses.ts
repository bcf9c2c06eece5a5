import type { Steps } from "#base";
import { type Attachment, type CniResult, emptyResult, type Ipam } from "#cni";
import { formatIp, parseIp, parsePrefix } from "#ip";

/** Which families the addresses of a Pod have. */
export const families = { v4: [4], v6: [6], dual: [4, 6] } as const;
export type Families = keyof typeof families;
export type Family = 4 | 6;

/** Where addresses come from: two networks of the nodes' machines, or the overlay that stands in for one. */
export interface Segment {
  readonly 4: { readonly prefix: (host: number) => string; readonly gateway: string };
  readonly 6: { readonly prefix: (host: number) => string; readonly gateway: string };
}

/** The nodes' own network. */
export const untagged: Segment = {
  4: { prefix: (host) => `172.18.0.${host}/16`, gateway: "172.18.0.1" },
  6: { prefix: (host) => `fd00:172:18::${host}/64`, gateway: "fd00:172:18::1" },
};

/** Another network, in a VLAN that the nodes themselves are not in. */
export const inVlan: Segment = {
  4: { prefix: (host) => `10.100.0.${host}/16`, gateway: "10.100.0.1" },
  6: { prefix: (host) => `fd00:100::${host}/64`, gateway: "fd00:100::1" },
};

/** The overlay's addresses of one node: a network that only nodes route. */
export function overlayOf(node: number): Segment {
  return {
    4: { prefix: (host) => `10.244.${node}.${host}/24`, gateway: `10.244.${node}.1` },
    6: { prefix: (host) => `fd00:244:${node}::${host}/64`, gateway: `fd00:244:${node}::1` },
  };
}

/** The address without its prefix length. */
export function bare(prefix: string): string {
  return formatIp(parsePrefix(prefix).ip);
}

/** Gives each interface the addresses that a test has written down for it, with the gateway and a default route by it. */
export class WrittenAddresses implements Ipam {
  readonly #of = new Map<string, readonly (readonly [address: string, gateway: string])[]>();
  readonly held = new Set<string>();

  write(
    containerId: string,
    ifName: string,
    addresses: readonly (readonly [address: string, gateway: string])[],
  ): void {
    this.#of.set(`${containerId}/${ifName}`, addresses);
  }

  allocate({ containerId, ifName }: Attachment, steps: Steps): Promise<CniResult> {
    const key = `${containerId}/${ifName}`;
    const give = (): CniResult => {
      this.held.add(key);
      const ips = (this.#of.get(key) ?? []).map(([address, gateway]) => ({
        address: parsePrefix(address),
        gateway: parseIp(gateway),
      }));
      const routes = ips.map(({ address, gateway: gw }) => ({
        dst: parsePrefix(address.ip.family === 4 ? "0.0.0.0/0" : "::/0"),
        gw,
      }));
      return { ...emptyResult, ips, routes };
    };
    return steps.run("claim", give, { undo: () => void this.held.delete(key) });
  }

  async release({ containerId, ifName }: Attachment): Promise<void> {
    this.held.delete(`${containerId}/${ifName}`);
  }

  async check(): Promise<void> {}
}
