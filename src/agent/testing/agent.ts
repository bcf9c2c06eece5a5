import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { decodeSettings, spiderEndpoints, spiderIPAddresses, spiderIPPools, spiderReservedIPs } from "#api";
import { type FailPoint, type JsonObject, type Signal, silentLogger, Tasks } from "#base";
import { decodeResult, type Ipam, type PluginConfig, type PluginOutput } from "#cni";
import { type Family, formatIp, type Ip } from "#ip";
import {
  EventRecorder,
  KubeClient,
  type KubeObject,
  metadataOf,
  namespaces,
  nodes,
  type OwnerReference,
  pods,
  type Resource,
  type Selection,
  TopControllers,
  type Transport,
  WatchedStore,
} from "#kube";
import type { Ledger } from "#ledger";
import type { Plugin } from "#plugins";
import { assertAnswer } from "../../cni/testing/answers.ts";
import type { ClaimsReconciler } from "../addresses/claims.ts";
import { runDoubts } from "../addresses/doubts.ts";
import type { LedgerEpoch } from "../addresses/ledger-epoch.ts";
import { type Addresses, createAddresses } from "../build/addresses.ts";
import { Calls } from "../calls/calls.ts";
import { Flights } from "../calls/flights.ts";
import { PodViews } from "../calls/pod-views.ts";
import { findPod } from "../cluster/pods.ts";
import { PoolCache } from "../cluster/pool-cache.ts";
import { Chain } from "../sandboxes/chain.ts";
import { ForeignPlugins } from "../sandboxes/foreign.ts";
import { Records } from "../sandboxes/records.ts";
import { TestApi } from "./api.ts";
import { addressesNad, addressPlugin, isNad, mortal } from "./plugins.ts";

interface TestPod {
  readonly name: string;
  /** @default "default" */
  readonly namespace?: string;
  readonly uid?: string;
  readonly node?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner?: OwnerReference;
}

type IpamFor = (config: PluginConfig) => Ipam | undefined;

interface TestAgentOptions {
  /** @default both */
  readonly families?: readonly Family[];
  /** Plugins that do something to the kernel. @default one that has addresses and nothing else */
  readonly plugins?: ((ipamFor: IpamFor, tasks: Tasks) => readonly Plugin<unknown>[]) | undefined;
  /** Networks with the test's plugin, as `namespace/name`, for calls of `multus`. @default none */
  readonly nads?: readonly string[];
  /** It has had its first lists. @default true */
  readonly isSynced?: boolean;
  /** What an ADD may take, in real time. @default as in the product */
  readonly addMsMax?: number | undefined;
}

/** A cluster in memory: one API server, one clock, and agents of as many nodes as a test starts. */
export class TestCluster implements Disposable {
  readonly api = new TestApi();
  readonly #folder = mkdtempSync(join(tmpdir(), "agents-"));
  readonly #agents: TestAgent[] = [];

  constructor() {
    this.api.fake.apply(namespaces, { metadata: { name: "default" } });
  }

  pool(name: string, ips: string, more: Readonly<Record<string, unknown>> = {}): void {
    const subnet = ips.includes(":") ? "fd00::/64" : "10.6.0.0/16";
    this.api.fake.apply(spiderIPPools, {
      metadata: { name },
      spec: { subnet, ips: ips === "" ? [] : [ips], default: true, ...more },
    });
  }

  /** Creates the Pod, and gives the UID that it has then. */
  pod({ name, namespace = "default", node = "n1", annotations = {}, owner }: TestPod): string {
    const ownerReferences = owner === undefined ? [] : [owner];
    const metadata = { namespace, name, annotations, ownerReferences };
    return this.api.fake.apply(pods, { metadata, spec: { nodeName: node }, status: { phase: "Running" } }).metadata.uid;
  }

  /** The Pod's object goes at once. */
  erase(name: string): void {
    this.api.fake.remove(pods, { namespace: "default", name });
  }

  /** Starts the node's agent; a second start of a node finds records and intents of the first. */
  async agent(node = "n1", { families = [4, 6], isSynced = true, ...more }: TestAgentOptions = {}): Promise<TestAgent> {
    const agent = new TestAgent(this, { node, folder: join(this.#folder, node), families, ...more });
    this.#agents.push(agent);
    if (isSynced) await this.api.drive(agent.ready);
    return agent;
  }

  /** Records and intents of the node are gone, as after boots that took the last copies. */
  forget(node: string): void {
    rmSync(join(this.#folder, node), { recursive: true, force: true });
  }

  /** The claims: address → `Pod UID@node`, or what else is written there. */
  get claims(): Readonly<Record<string, string>> {
    const all = this.api.fake.all(spiderIPAddresses);
    return Object.fromEntries(
      all.map(({ metadata, spec: { purpose, podUID, node } }) => [
        metadata.name,
        purpose === "Quarantine" ? purpose : `${podUID}@${node ?? "nowhere"}`,
      ]),
    );
  }

  endpoint(name: string) {
    return this.api.fake.read(spiderEndpoints, { namespace: "default", name });
  }

  /** Lets everything that is ready run, and time pass. */
  advance(ms = 0): Promise<void> {
    return this.api.clock.advance(ms);
  }

  /**
   * Lets time pass until a call has ended that has to do with a kernel, which takes real time, or with the call's deadline,
   * which is one of real time.
   */
  async ended(call: Promise<PluginOutput>): Promise<PluginOutput> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    call.then(over, over);
    while (!isOver) {
      await this.advance(100);
      await delay(1);
    }
    return call;
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents) agent.kill();
    this.api[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** An agent with plugins of the test: all that is decided about claims and records is the real thing. */
export class TestAgent {
  readonly node: string;
  readonly ledger: Ledger;
  readonly records: Records;
  readonly claims: ClaimsReconciler;
  readonly epoch: LedgerEpoch;
  readonly ready: Promise<unknown>;
  /** Sandboxes that were cut off the network. */
  readonly cut: string[] = [];
  /** What two sources disagreed about. */
  readonly faults: string[] = [];
  /** Of the host's interface under every NIC. */
  masterAddresses: readonly Ip[] = [];
  /** The warnings in its log. */
  readonly warned: string[] = [];
  /** How many ADDs waited for the pool of their application. */
  waits = 0;
  /** Events about them. */
  readonly told: string[] = [];
  /** Throws or waits at a stage of a call. */
  failPoint: ((verb: string, point: Parameters<FailPoint>[0]) => void) | undefined;
  /** Runs in an ADD after the addresses are there. */
  linked: () => Promise<void> = async () => {};
  readonly #calls: Calls;
  readonly #cluster: TestCluster;
  readonly #stop = new AbortController();
  #hasCrashed = false;

  constructor(
    cluster: TestCluster,
    {
      node,
      folder,
      families,
      plugins: pluginsFor = (of) => [addressPlugin(of, () => this.linked())] as readonly Plugin<unknown>[],
      addMsMax,
      nads = [],
    }: Required<Pick<TestAgentOptions, "families">> &
      Pick<TestAgentOptions, "plugins" | "addMsMax" | "nads"> & { node: string; folder: string },
  ) {
    this.node = node;
    this.#cluster = cluster;
    const { clock, fake } = cluster.api;
    const log = { ...silentLogger, warn: (_fields: object, message: string) => void this.warned.push(message) };
    const tasks = new Tasks(log);
    const { signal } = this.#stop;
    const transport: Transport = {
      server: fake.server,
      send: (request, o) => fake.send(request, { signal: AbortSignal.any([o.signal, signal]) }),
    };
    const client = new KubeClient({ transport, clock });
    const synced: Promise<void>[] = [];
    const stores: { readonly relist: () => void }[] = [];
    const watch = <T extends KubeObject>(resource: Resource<T>, selection: Selection = {}): WatchedStore<T> => {
      const store = new WatchedStore<T>({ client, clock, log, resource, ...selection });
      store.run({ signal }).catch(() => {});
      synced.push(store.synced({ signal }));
      stores.push(store);
      return store;
    };
    const podStore = watch(pods, { fieldSelector: `spec.nodeName=${node}` });
    const nodeStore = watch(nodes, { fieldSelector: `metadata.name=${node}` });
    const reservedStore = watch(spiderReservedIPs);
    const namespaceStore = watch(metadataOf(namespaces));
    const poolMetadata = watch(metadataOf(spiderIPPools));
    const pools = new PoolCache({ client, clock, log, metadata: poolMetadata });
    pools.start({ signal });
    const { settings } = decodeSettings("");
    this.records = new Records(join(folder, "records"));
    const addresses: Addresses = createAddresses(
      {
        log,
        clock,
        tasks,
        settings,
        families,
        records: this.records,
        owners: new TopControllers(client),
        options: {
          node,
          namespace: "spiderpool",
          clusterNetwork: "",
          runDir: folder,
          autoPoolWaitMs: 50_000,
          lookEveryMs: 20_000,
        },
        cluster: {
          client,
          podStore,
          nodeStore,
          namespaceStore,
          reservedStore,
          poolMetadata,
          pools,
          relist: () => {
            for (const store of stores) store.relist();
          },
        },
        events: { record: (_pod, { reason, message }) => void this.told.push(`${reason}: ${message}`) },
        metrics: { fault: (kind) => void this.faults.push(kind), waits: () => void this.waits++ },
      },
      {
        exclusive: (containerId, act, o) => this.#calls.exclusive(containerId, act, o),
        claimedAgain: (pod) => void endpoints.write(pod, { signal }).catch(() => {}),
        cut: ({ containerId }) => void this.cut.push(containerId),
        masterAddresses: () => this.masterAddresses,
        nodes: () => 1_000,
        random: () => 0.5,
      },
    );
    const { endpoints, ipamFor } = addresses;
    this.ledger = addresses.ledger;
    this.claims = addresses.claims;
    this.epoch = addresses.epoch;
    const events = new EventRecorder({ client, clock, log, component: "agent", host: node });
    const idle = () => Promise.resolve();
    const views = new PodViews({ client, clock, log, tasks, events, endpoints, pods: podStore, idle });
    const undo = (act: () => unknown) => (this.#hasCrashed ? undefined : act());
    const plugins = pluginsFor(ipamFor, tasks).map((plugin) =>
      mortal(plugin, { isDead: () => this.#hasCrashed, undo }),
    );
    this.#calls = new Calls({
      chain: new Chain(plugins, new ForeignPlugins()),
      ipamFor,
      records: this.records,
      flights: new Flights({ max: 100 }),
      ...(addMsMax !== undefined && { addMsMax }),
      source: {
        nad: (...of) => nads.map(addressesNad).find(isNad(...of)),
        directory: () => undefined,
        file: () => undefined,
      },
      nadsChanged: () => () => {},
      clock,
      log,
      findPod: ({ pod }, o) =>
        findPod({ store: podStore, client, node }, pod ?? { namespace: "", name: "", uid: "" }, o),
      added: (attached, pod) => views.added(attached, pod),
      addressed: (pod) => views.addressed(pod),
      failed: () => {},
      removed: ({ pod }, how) => {
        if (pod !== undefined) this.claims.removed(pod, how);
      },
      failPoint: (verb, point) => {
        if (!this.#hasCrashed) this.failPoint?.(verb, point);
      },
    });
    events.run({ signal }).catch(() => {});
    this.claims.run({ signal }).catch(() => {});
    this.claims.recallAndAudit({ signal }).catch(() => {});
    this.epoch.run({ signal }).catch(() => {});
    const inspect = (names: readonly string[], o: Signal) => this.claims.inspect(names, o);
    runDoubts({ node, nodes: nodeStore, inspect, log }, { signal }).catch(() => {});
    this.ready = Promise.all(synced);
    signal.addEventListener("abort", () => void tasks.stop());
  }

  /** The addresses that the ADD answered with. Rejects with the sentence of an ADD that failed. */
  async add(pod: string, sandbox: string, more: CallMore = {}): Promise<readonly string[]> {
    const { exitCode, stdout } = await this.#cluster.api.drive(this.call("ADD", pod, sandbox, more));
    const answer = JSON.parse(String(stdout));
    if (exitCode !== 0) throw new Error(`${answer.msg}: ${answer.details}`);
    return decodeResult(answer).ips.map(({ address }) => formatIp(address.ip));
  }

  async del(pod: string, sandbox: string, more: CallMore = {}): Promise<void> {
    const { exitCode, stdout } = await this.#cluster.api.drive(this.call("DEL", pod, sandbox, more));
    if (exitCode !== 0) throw new Error(String(stdout));
  }

  call(
    verb: string,
    pod: string,
    sandbox: string,
    {
      nic = "eth0",
      uid = "",
      pools,
      namespace = "default",
      netns = "/proc/self/ns/net",
      config,
      calledMs,
    }: CallMore = {},
  ): Promise<PluginOutput> {
    const env = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: sandbox,
      CNI_IFNAME: nic,
      CNI_NETNS: netns,
      CNI_NETNS_OVERRIDE: "1",
      CNI_PATH: "/nowhere",
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${pod};K8S_POD_UID=${uid}`,
      ...(calledMs !== undefined && { SPIDERPOOL_CALLED_MS: String(calledMs) }),
    };
    const ipam = { type: "spiderpool", ...pools };
    const plugin = { cniVersion: "1.1.0", name: "net", type: "addresses", ipam, ...config };
    const stdin = Buffer.from(JSON.stringify(plugin));
    const context = { exec: () => Promise.reject(new Error("no foreign plugins here")), signal: this.#stop.signal };
    const answered = (output: PluginOutput) => {
      assertAnswer({ verb, stdin: String(stdin), exitCode: output.exitCode, stdout: String(output.stdout) });
      return output;
    };
    return this.#calls.handle({ executable: plugin.type, env, stdin }, context).then(answered);
  }

  /** The sandbox's namespace is gone without a DEL, as after a kill of all its processes. */
  loseNamespace(sandbox: string): void {
    for (const record of this.records.list().filter(({ containerId }) => containerId === sandbox)) {
      this.records.write({ ...record, netns: { ...record.netns, inode: "1" } });
    }
  }

  /** Ends the process in the middle of a call, from its fail point: nothing is undone, and nothing that follows has an effect. */
  crash(): never {
    this.#hasCrashed = true;
    Object.assign(this.records, { write: () => {}, remove: () => {} });
    this.kill();
    throw new Error("killed");
  }

  /** Ends the process: memory is lost, records and intents stay, and nothing more is sent. */
  kill(): void {
    this.#stop.abort(new Error("killed"));
  }
}

interface CallMore {
  /** Of the Pod. @default "default" */
  readonly namespace?: string;
  readonly nic?: string;
  /** As the runtime gives it. */
  readonly uid?: string;
  readonly netns?: string;
  /** When the shim was started: the same for a call that it says again. */
  readonly calledMs?: number;
  /** Of the plugin; its type is the executable that is called. */
  readonly config?: JsonObject & { readonly type: string };
  /** Of the `ipam` block. */
  readonly pools?: Readonly<Record<string, readonly string[] | boolean>>;
}
