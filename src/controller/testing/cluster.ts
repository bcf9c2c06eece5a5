import {
  decodeSettings,
  type SpiderIPAddress,
  type SpiderIPPool,
  type SpiderIPPoolSpec,
  spiderIPAddresses,
  spiderIPPools,
} from "#api";
import { type Signal, silentLogger } from "#base";
import { KubeClient } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import type { ControllerProgramOptions } from "../options.ts";
import { runReplica } from "../program.ts";

export const options: ControllerProgramOptions = {
  podName: "controller-a",
  namespace: "kube-system",
  logLevel: "info",
  kubeconfig: undefined,
  configPath: undefined,
  healthPort: 0,
  webhookPort: 0,
  tls: undefined,
  clusterNetwork: "",
  coordinator: { name: "default", spec: undefined },
  multusConfigs: true,
};

/** Watches of one replica. */
const storesMax = 7;

/** Replicas of the controller on an API in memory; time stands still until `clock.advance`. */
export class TestCluster implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly api = new FakeApi({ clock: this.clock, withoutStatusSubresource: ["spiderendpoints"] });
  readonly client = new KubeClient({ transport: this.api, clock: this.clock });
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];

  /** Starts a replica; returns the function that stops it. */
  async start(changes: Partial<ControllerProgramOptions> = {}): Promise<() => Promise<void>> {
    const stop = new AbortController();
    this.#stop.signal.addEventListener("abort", () => stop.abort());
    const before = this.api.watches;
    const running = this.#run({ ...options, ...changes }, stop);
    this.#running.push(running);
    // Sockets open in real time.
    for (let turn = 0; turn < 1_000 && this.api.watches < before + storesMax; turn++) await this.clock.advance(0);
    await this.settle();
    return async () => {
      stop.abort();
      await running;
    };
  }

  #run(changed: ControllerProgramOptions, o: Signal): Promise<void> {
    const { settings } = decodeSettings("");
    return runReplica(changed, { transport: this.api, clock: this.clock, log: silentLogger, settings }, o);
  }

  /** Lets everything run that needs no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 40; turn++) await this.clock.advance(0);
  }

  /** Time passes in small steps, so that what it wakes can answer in between. */
  async pass(ms: number): Promise<void> {
    const stepMs = Math.max(5, Math.ceil(ms / 100));
    for (let left = ms; left > 0; left -= stepMs) {
      await this.clock.advance(Math.min(left, stepMs));
      await this.settle();
    }
  }

  pool(name: string, spec: Partial<SpiderIPPoolSpec> = {}): SpiderIPPool {
    return this.api.apply<SpiderIPPool>(spiderIPPools, {
      metadata: { name },
      spec: { subnet: "172.18.0.0/16", ips: ["172.18.30.131-172.18.30.140"], gateway: "172.18.0.1", ...spec },
    });
  }

  claim(address: string, pool: SpiderIPPool, node = "n1"): SpiderIPAddress {
    return this.api.apply<SpiderIPAddress>(spiderIPAddresses, {
      metadata: { name: address.replaceAll(":", "-"), labels: { pool: pool.metadata.name, node } },
      spec: {
        format: 1,
        address,
        purpose: "Pod",
        pool: pool.metadata.name,
        poolUID: pool.metadata.uid,
        poolGeneration: 1,
        node,
        podNamespace: "default",
        podName: `pod-${address}`,
        podUID: `uid-${address}`,
        nic: "eth0",
      },
    });
  }

  release(address: string): void {
    this.api.remove(spiderIPAddresses, { name: address.replaceAll(":", "-") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }
}
