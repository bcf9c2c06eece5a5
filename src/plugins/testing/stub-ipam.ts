import type { Steps } from "#base";
import type { Attachment, CniResult, Ipam } from "#cni";
import { parseIp, parsePrefix } from "#ip";

/** Gives out the same addresses to every container, or fails; counts what is held. Gateways: 10.10.0.1 and fd00::1. */
export class StubIpam implements Ipam {
  readonly held = new Set<string>();
  readonly addresses: readonly string[];
  readonly failure: Error | undefined;

  constructor(addresses: readonly string[], failure?: Error) {
    this.addresses = addresses;
    this.failure = failure;
  }

  allocate({ containerId }: Attachment, steps: Steps): Promise<CniResult> {
    return steps.run(
      "claim",
      async () => {
        await Promise.resolve();
        if (this.failure !== undefined) throw this.failure;
        this.held.add(containerId);
        const ips = this.addresses.map((text) => {
          const address = parsePrefix(text);
          return { address, gateway: parseIp(address.ip.family === 4 ? "10.10.0.1" : "fd00::1") };
        });
        const routes = ips.map(({ address }) => ({ dst: parsePrefix(address.ip.family === 4 ? "0.0.0.0/0" : "::/0") }));
        return { interfaces: [], ips, routes };
      },
      { undo: () => void this.held.delete(containerId) },
    );
  }

  async release({ containerId }: Attachment): Promise<void> {
    this.held.delete(containerId);
    await Promise.resolve();
  }

  async check(): Promise<void> {}
}
