import {
  decodeSettings,
  type SpiderIPAddress,
  type SpiderIPAddressSpec,
  type SpiderIPPool,
  type SpiderIPPoolSpec,
  spiderIPAddresses,
  spiderIPPools,
  spiderReservedIPs,
} from "#api";
import { Environment, type Logger, type Signal, silentLogger } from "#base";
import { KubeClient, nodes, type Pod, pods, type Transport } from "#kube";
import { ManualClock } from "../../base/testing/manual-clock.ts";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import type { Probe } from "../collector/observe.ts";
import { readCollection, readLeader } from "../environment.ts";
import type { ControllerProgramOptions } from "../options.ts";
import { runReplica } from "../program.ts";

/** Options of a replica with the chart's defaults, without TLS, on ports that the kernel chooses. */
export const options: ControllerProgramOptions = {
  podName: "controller-a",
  namespace: "kube-system",
  logLevel: "info",
  kubeconfig: undefined,
  configPath: undefined,
  healthPort: 0,
  webhookPort: 0,
  tls: undefined,
  bind: {},
  clusterNetwork: "",
  createsNetwork: true,
  coordinator: {
    name: "default",
    spec: undefined,
    cilium: { namespace: "kube-system", name: "cilium-config" },
  },
  multusConfigs: true,
  metrics: undefined,
  listedIps: 1_000,
  agentComponent: "spiderpool-agent",
  ...defaultsOf(new Environment({})),
};

function defaultsOf(environment: Environment) {
  return { collection: readCollection(environment), leader: readLeader(environment), withoutEffect: [] };
}

/** How many watches a replica has that does not lead. */
const storesMax = 8;

interface ReplicaChanges {
  /** `conf.yml`. */
  readonly conf?: string;
  /** Used in place of the API itself, to hold back a replica's requests. */
  readonly transport?: Transport;
  readonly probe?: Probe;
  readonly log?: Logger;
  readonly endMs?: number;
}

/** How a node and its agent look to the controller. Healthy by default. */
interface NodeState {
  readonly ready?: "True" | "False" | "Unknown";
  /** Condition `Ready` of its agent's Pod. */
  readonly agent?: "True" | "False" | "none";
  readonly outOfService?: boolean;
}

/** Replicas of the controller with an API in memory. Time stands still until `clock.advance`. */
export class TestCluster implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly api = new FakeApi({ clock: this.clock, withoutStatusSubresource: ["spiderendpoints"] });
  readonly client = new KubeClient({ transport: this.api, clock: this.clock });
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];

  /** Starts a replica; returns a function that stops it. */
  async start(
    changes: Partial<ControllerProgramOptions> = {},
    more: ReplicaChanges = {},
  ): Promise<() => Promise<void>> {
    const stop = new AbortController();
    this.#stop.signal.addEventListener("abort", () => stop.abort());
    const before = this.api.watches;
    const running = this.#run({ ...options, ...changes }, more, stop);
    this.#running.push(running);
    // Sockets open in real time.
    for (let turn = 0; turn < 1_000 && this.api.watches < before + storesMax; turn++) await this.clock.advance(0);
    await this.settle();
    return async () => {
      stop.abort();
      await running;
    };
  }

  #run(changed: ControllerProgramOptions, more: ReplicaChanges, o: Signal): Promise<void> {
    const { conf = "", transport = this.api, probe, log = silentLogger, endMs = 0 } = more;
    const { settings } = decodeSettings(conf);
    const deps = { transport, clock: this.clock, log, settings, endMs, ...(probe !== undefined && { probe }) };
    return runReplica(changed, deps, o);
  }

  /** Runs everything that does not wait for time to pass. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 40; turn++) await this.clock.advance(0);
  }

  /** Advances time in small steps, so that woken code can run in between. */
  async pass(ms: number, { steps = 100 }: { readonly steps?: number } = {}): Promise<void> {
    const stepMs = Math.max(5, Math.ceil(ms / steps));
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

  /** Creates or changes a node and its agent's Pod. */
  node(name: string, state: NodeState = {}): void {
    const { ready = "True", agent = "True", outOfService = false } = state;
    const taints = outOfService ? [{ key: "node.kubernetes.io/out-of-service", effect: "NoExecute" }] : [];
    const conditions = (status: string) => [{ type: "Ready", status }];
    this.api.apply(nodes, { metadata: { name }, spec: { taints }, status: { conditions: conditions(ready) } });
    const ref = { namespace: options.namespace, name: `spiderpool-agent-${name}` };
    if (agent === "none") this.api.remove(pods, ref);
    else {
      const labels = { "app.kubernetes.io/component": "spiderpool-agent" };
      this.api.apply(pods, {
        metadata: { ...ref, labels },
        spec: { nodeName: name },
        status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }], conditions: conditions(agent) },
      });
    }
  }

  /** Creates a running Pod in the namespace default. */
  pod(name: string, more: { metadata?: object; spec?: object; status?: object } = {}): Pod {
    return this.api.apply<Pod>(pods, {
      metadata: { namespace: "default", name, ...more.metadata },
      spec: { nodeName: "n1", restartPolicy: "Always", terminationGracePeriodSeconds: 30, ...more.spec },
      status: { phase: "Running", podIPs: [{ ip: "172.18.30.131" }], ...more.status },
    });
  }

  reserved(name: string, ips: readonly string[]): void {
    this.api.apply(spiderReservedIPs, { metadata: { name }, spec: { ips } });
  }

  claim(address: string, pool: SpiderIPPool, node = "n1", more: Partial<SpiderIPAddressSpec> = {}): SpiderIPAddress {
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
        containerID: `container-${address}`,
        ...more,
      },
    });
  }

  read(address: string): SpiderIPAddress | undefined {
    return this.api.read(spiderIPAddresses, { name: address.replaceAll(":", "-") });
  }

  release(address: string): void {
    this.api.remove(spiderIPAddresses, { name: address.replaceAll(":", "-") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }
}
