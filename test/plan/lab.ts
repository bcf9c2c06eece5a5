/**
 * A cluster in one process on which a change is made for good: the real controller, the real rules of admission, the real
 * allocation of two nodes' agents, on an API server in memory. The rest of Kubernetes (scheduler, kubelet, the controllers
 * of workloads) is played here, as simply as can be.
 */
import assert from "node:assert/strict";
import { decodeSettings, networkAttachmentDefinitions, spiderIPAddresses } from "#api";
import { silentLogger } from "#base";
import {
  configMaps,
  deployments,
  type KubeObject,
  namespaces,
  nodes,
  type OwnerReference,
  type Pod,
  pods,
  type Resource,
  statefulSets,
} from "#kube";
import { type TestAgent, TestCluster } from "../../src/agent/testing/agent.ts";
import type { AdmissionKind } from "../../src/controller/admission/kind.ts";
import { admissionKinds } from "../../src/controller/admission/kinds.ts";
import { indexOf } from "../../src/controller/pools/index-of.ts";
import { runReplica } from "../../src/controller/program.ts";
import { watchStores } from "../../src/controller/stores.ts";
import { options } from "../../src/controller/testing/cluster.ts";
import type { Manifest } from "../../src/ctl/manifests.ts";
import { gatherState } from "../../src/ctl/plan/gather.ts";
import { applied } from "../../src/ctl/plan/merge.ts";
import type { State } from "../../src/ctl/plan/state.ts";

const conf = "enableIPv6: false\nenableValidatingResourcesDeletedWebhook: true\n";
/** A deleted pool goes after two minutes, a kept address after two looks 30 s apart. */
const restMs = 240_000;

/** Controller and agents of a cluster in one process, to which a change can be planned and then applied. */
export class PlanLab implements AsyncDisposable {
  readonly #cluster = new TestCluster();
  readonly #agents = new Map<string, TestAgent>();
  readonly #stop = new AbortController();
  readonly #sandboxes = new Map<string, string>();
  #kinds: readonly AdmissionKind[] = [];
  #running: Promise<void> | undefined;
  #serial = 0;

  static async start(): Promise<PlanLab> {
    const lab = new PlanLab();
    await lab.#start();
    return lab;
  }

  get api() {
    return this.#cluster.api.fake;
  }

  async #start(): Promise<void> {
    const { api, clock, client } = { api: this.api, ...this.#clients };
    const labels = { "app.kubernetes.io/component": "spiderpool" };
    api.apply(configMaps, {
      metadata: { namespace: "kube-system", name: "conf", labels },
      data: { "conf.yml": conf, clusterNetwork: "net" },
    });
    api.apply(networkAttachmentDefinitions, {
      metadata: { namespace: "kube-system", name: "net" },
      spec: { config: '{"cniVersion":"1.1.0","name":"net","type":"addresses","ipam":{"type":"spiderpool"}}' },
    });
    api.apply(namespaces, { metadata: { name: "default" } });
    for (const name of ["n1", "n2"]) {
      const status = { conditions: [{ type: "Ready", status: "True" }] };
      api.apply(nodes, { metadata: { name, labels: { "kubernetes.io/hostname": name } }, spec: {}, status });
      this.#agents.set(name, await this.#cluster.agent(name, { families: [4] }));
    }
    const { settings } = decodeSettings(conf);
    const { signal } = this.#stop;
    const deps = { client, clock, log: silentLogger, settings };
    const stores = watchStores(deps);
    for (const store of Object.values(stores)) store.run({ signal }).catch(() => {});
    const indexes = { poolIndex: indexOf(stores.pools), subnetIndex: indexOf(stores.subnets) };
    this.#kinds = admissionKinds(deps, { ...stores, ...indexes, epoch: () => undefined });
    this.#running = runReplica(options, { transport: api, clock, log: silentLogger, settings }, { signal });
    // Its sockets open in real time.
    for (let turn = 0; turn < 2_000 && api.watches < 30; turn++) await clock.advance(0);
    await this.rest();
  }

  get #clients() {
    const { clock, client } = this.#cluster.api;
    return { clock, client };
  }

  /** The cluster as the plan reads it. */
  state(): Promise<State> {
    return this.#cluster.api.drive(gatherState(this.#clients, this.#stop.signal));
  }

  /** Time passes until nothing is left to do. */
  async rest(ms = restMs): Promise<void> {
    for (let left = ms; left > 0; left -= 5_000) await this.#clients.clock.advance(Math.min(left, 5_000));
  }

  /** A manifest as the API server takes it, through admission. Returns why it was refused. */
  async apply(manifest: Manifest): Promise<string | undefined> {
    const { resource, kind } = this.#kindOf(manifest);
    const ref = { name: "", ...manifest.metadata };
    const old = this.api.read(resource, ref);
    const fresh = {
      ...manifest,
      metadata: { ...manifest.metadata, uid: "", resourceVersion: "" },
    } as unknown as KubeObject;
    const sent = old === undefined ? fresh : applied(old, manifest);
    if (kind === undefined) {
      this.#store(resource, sent);
      return undefined;
    }
    const object = kind.mutate(sent as never, old as never);
    const drive = <T>(promise: Promise<T>) => this.#cluster.api.drive(promise);
    const violations = await drive(
      kind.validate(object as never, old as never, { signal: this.#stop.signal, dryRun: false }),
    );
    if (violations.length > 0) return violations.map(({ field }) => field).join(" ");
    this.#store(resource, object as unknown as KubeObject);
    await this.rest(1_000);
    return undefined;
  }

  /** Deletes the object as a user would. Returns why it was refused. */
  async remove(manifest: Manifest): Promise<string | undefined> {
    const { resource, kind } = this.#kindOf(manifest);
    const old = this.api.read(resource, { name: "", ...manifest.metadata });
    if (old === undefined) return undefined;
    const o = { signal: this.#stop.signal };
    const refused = kind && (await this.#cluster.api.drive(kind.refuseDeletion(old as never, o)));
    if (refused !== undefined) return refused;
    const { namespace, name } = old.metadata;
    await this.#cluster.api.drive(this.#clients.client.delete(resource, { name, ...(namespace && { namespace }) }, o));
    return undefined;
  }

  /** A Pod that its controller made; what its ADD came to. */
  async makePod(pod: {
    readonly name: string;
    readonly node: string;
    readonly owner: OwnerReference;
    readonly annotations: object;
  }) {
    const { name, node, owner, annotations } = pod;
    const metadata = { namespace: "default", name, ownerReferences: [owner], annotations, labels: {} };
    this.api.apply(pods, { metadata, spec: { nodeName: node }, status: { phase: "Pending" } });
    return this.retry(name);
  }

  /** What kubelet does to a Pod that waits. Returns why it still does. */
  async retry(name: string): Promise<string | undefined> {
    const pod = this.#podOf(name);
    const sandbox = `s${this.nextNumber()}`;
    try {
      await this.#agentOf(pod).add(name, sandbox);
    } catch (error) {
      await this.#agentOf(pod).del(name, sandbox);
      await this.rest(6_000);
      return error instanceof Error ? error.message : String(error);
    }
    this.#sandboxes.set(name, sandbox);
    this.api.apply(pods, { ...pod, status: { phase: "Running", podIPs: [{ ip: "10.6.0.1" }] } } as unknown as Pod);
    await this.rest(2_000);
    return undefined;
  }

  /** The Pod goes, and its sandbox. */
  async endPod(name: string): Promise<void> {
    const agent = this.#agentOf(this.#podOf(name));
    const sandbox = this.#sandboxes.get(name);
    this.#cluster.erase(name);
    await this.rest(1_000);
    if (sandbox !== undefined) await agent.del(name, sandbox);
    this.#sandboxes.delete(name);
    await this.rest(2_000);
  }

  /** The living Pods, in the order of their names, numbers by value. */
  podsOf(owner: Pick<OwnerReference, "uid">): readonly Pod[] {
    return this.api
      .all(pods)
      .filter(({ metadata }) => metadata.namespace === "default" && metadata.ownerReferences?.[0]?.uid === owner.uid)
      .toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name, "en", { numeric: true }));
  }

  /** Whether the Pod has its addresses. */
  isRunning(name: string): boolean {
    return this.#sandboxes.has(name);
  }

  /** Address → Pod of every claim that a Pod has or is kept. */
  get held(): ReadonlyMap<string, string> {
    return new Map(
      this.api
        .all(spiderIPAddresses)
        .filter(({ spec }) => spec.purpose === "Pod" || spec.purpose === "Sticky")
        .map(({ metadata, spec }) => [metadata.name, `${spec.podNamespace}/${spec.podName}`]),
    );
  }

  /** For names that nothing else has or had. */
  nextNumber(): number {
    this.#serial += 1;
    return this.#serial;
  }

  /** What the Pod has or is kept. */
  addressesOf(pod: string): readonly string[] {
    return [...this.held].filter(([, holder]) => holder === pod).map(([ip]) => ip);
  }

  #podOf(name: string): Pod {
    return this.api.read(pods, { namespace: "default", name }) ?? assert.fail(`there is no Pod ${name}`);
  }

  #agentOf({ spec }: Pod): TestAgent {
    return this.#agents.get(spec?.nodeName ?? "") ?? assert.fail("no agent");
  }

  #kindOf(manifest: Manifest): { readonly resource: Resource<KubeObject>; readonly kind: AdmissionKind | undefined } {
    const kind = this.#kinds.find(({ resource }) => resource.kind === manifest.kind);
    const known = kind?.resource ?? workloads[manifest.kind ?? ""] ?? assert.fail(`unknown kind ${manifest.kind}`);
    return { resource: known, kind };
  }

  /** As a user's write: the status stays. */
  #store(resource: Resource<KubeObject>, object: KubeObject): void {
    const { uid: _uid, resourceVersion: _version, ...metadata } = object.metadata;
    const old = this.api.read(resource, metadata);
    const status = (old as { readonly status?: object } | undefined)?.status;
    this.api.apply(resource, { ...object, metadata, ...(status && { status }) } as never);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the test is over"));
    await this.#running?.catch(() => {});
    this.#cluster[Symbol.dispose]();
  }
}

/** The kinds of workloads that the lab plays the controllers of. */
const workloads: Readonly<Record<string, Resource<KubeObject>>> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
};
