import { type Clock, formatError, type Logger, type Signal, SpiderError } from "#base";
import { formatPrefix, type Ip, type Prefix } from "#ip";
import { monitor, type Netns, type NetworkEvent } from "#linux";
import { type Chain, recordedResult } from "./chain.ts";
import { recordedNetwork } from "./recording.ts";
import type { RecordedNetwork, Records, SandboxRecord } from "./records.ts";

/** A Pod that ends takes its routes along: only what is missing after this long was taken by somebody else. */
const settleMs = 300;
/** The kernel's own tables: rules and routes in them are none of ours. */
const kernelTables = new Set([253, 254, 255]);

export interface HostStateOptions {
  readonly records: Records;
  readonly chain: Chain;
  readonly host: Netns;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What was taken since the last repair. */
interface Losses {
  all: boolean;
  readonly destinations: Set<string>;
}

/**
 * Puts back the node's rules and routes of running Pods when somebody else removes them (`ip rule flush`, a restart of
 * systemd-networkd): told by the kernel, repaired by the plugins that made them.
 */
export class HostState {
  readonly #options: HostStateOptions;
  #losses: Losses = { all: false, destinations: new Set() };
  #repairing: Promise<void> | undefined;

  constructor(options: HostStateOptions) {
    this.#options = options;
  }

  async run({ signal }: Signal): Promise<void> {
    for await (const event of monitor(this.#options.host, { topics: ["rules", "routes"], signal })) {
      this.#note(event);
      if (this.#losses.all || this.#losses.destinations.size > 0) {
        this.#repairing ??= this.#repairSoon(signal).finally(() => {
          this.#repairing = undefined;
        });
      }
    }
  }

  #note(event: NetworkEvent): void {
    if (event.kind === "overrun") this.#losses.all = true;
    else if (event.kind === "rule" && event.action === "delete")
      this.#losses.all ||= !kernelTables.has(event.rule.table);
    else if (event.kind === "route" && event.action === "delete" && !kernelTables.has(event.route.table)) {
      this.#losses.destinations.add(formatPrefix(event.route.dst));
    }
  }

  async #repairSoon(signal: AbortSignal): Promise<void> {
    const { records, clock, log } = this.#options;
    await clock.sleep(settleMs, { signal });
    const { all, destinations } = this.#losses;
    this.#losses = { all: false, destinations: new Set() };
    const affected = records
      .list()
      .filter((record) => record.complete && (all || addressesOf(record).some((one) => destinations.has(one))));
    for (const record of affected) {
      try {
        await this.#restore(record, { signal });
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ pod: record.pod, err: formatError(err) }, "host rules and routes of a Pod could not be restored");
      }
    }
    if (affected.length > 0)
      log.info({ pods: affected.length }, "host rules and routes restored: somebody had removed them");
  }

  async #restore({ containerId, netns, pod, networks }: SandboxRecord, o: Signal): Promise<void> {
    for (const network of networks) {
      const result = recordedResult(network.result, network.cniVersion);
      if (result === undefined) continue;
      const { ifName, cniArgs, capabilityArgs } = network;
      const attachment = { containerId, netns: netns.path, pod: pod ?? undefined, ifName, args: new Map(cniArgs) };
      await this.#options.chain.restore(
        recordedNetwork(network),
        { attachment, path: [], capabilityArgs, exec: noForeign },
        result,
        o,
      );
    }
  }
}

function noForeign(): Promise<never> {
  return Promise.reject(new SpiderError("NO_SHIM", "foreign plugins run only during a call of the runtime"));
}

/** The addresses of a record's networks as host routes: `172.18.30.131/32`. */
function addressesOf({ networks }: SandboxRecord): readonly string[] {
  return networks.flatMap((network: RecordedNetwork) =>
    (recordedResult(network.result, network.cniVersion)?.ips ?? []).map(({ address }) =>
      formatPrefix(hostRoute(address.ip)),
    ),
  );
}

function hostRoute(ip: Ip): Prefix {
  return { ip, bits: ip.family === 4 ? 32 : 128 };
}
