import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { applyPatch } from "rfc6902";
import { annotations, decodeSettings, type SpiderMultusConfig, spiderMultusConfigs } from "#api";
import { never, silentLogger } from "#base";
import { namespaces, WatchedStore } from "#kube";
import { TestCluster } from "../testing/cluster.ts";
import { injectionsOf } from "./inject.ts";
import { podRoutes } from "./route.ts";

const { rdmaResourceInject: rdma, networks } = annotations;

/** A cluster with the webhook of Pods. */
class Injection extends TestCluster {
  readonly #stop = new AbortController();
  readonly #options = { client: this.client, clock: this.clock, log: silentLogger };
  readonly #configs = new WatchedStore<SpiderMultusConfig>({
    ...this.#options,
    resource: spiderMultusConfigs,
    indexes: { injection: injectionsOf },
  });
  readonly #namespaces = new WatchedStore({ ...this.#options, resource: namespaces });
  readonly #routes = podRoutes({
    client: this.client,
    configs: this.#configs,
    namespaces: this.#namespaces,
    settings: decodeSettings("podResourceInject: {enabled: true, namespacesExclude: [kube-system]}").settings
      .podResourceInject,
    namespace: "release",
  });

  constructor() {
    super();
    for (const store of [this.#configs, this.#namespaces]) store.run(this.#stop).catch(assert.fail);
  }

  /** Stops the stores: they show no change from now on. */
  freeze(): void {
    this.#stop.abort();
  }

  network(name: string, value = "ai"): void {
    this.api.apply<SpiderMultusConfig>(spiderMultusConfigs, {
      metadata: { namespace: "net", name, annotations: { [rdma]: value } },
      spec: {
        cniType: "macvlan",
        macvlan: { master: ["eth1"], rdmaResourceName: "r/1", ippools: { ipv4: ["p"] } },
      },
    });
  }

  space(name: string, notes: Readonly<Record<string, string>>): void {
    this.api.apply(namespaces, { metadata: { name, annotations: notes } });
  }

  async ask(namespace: string, notes: Readonly<Record<string, string>> = {}) {
    await this.settle();
    const object = { metadata: { generateName: "p-", annotations: notes }, spec: { containers: [{ name: "a" }] } };
    const request = { uid: "u", operation: "CREATE", namespace, object };
    const route = this.#routes["/mutate--v1-pod"] ?? assert.fail();
    const text = JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
    const { status, body } = await route.answer(text, { signal: never });
    assert.equal(status, 200);
    const { response } = body as {
      readonly response: {
        readonly allowed: boolean;
        readonly patch?: string;
        readonly status?: { readonly message: string };
      };
    };
    const operations = JSON.parse(Buffer.from(response.patch ?? "W10=", "base64").toString());
    applyPatch(object, operations);
    return { ...response, changed: operations.length > 0, given: object.metadata.annotations[networks] };
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await super[Symbol.asyncDispose]();
  }
}

describe("/mutate--v1-pod", () => {
  it("gives a Pod the networks of its annotation, or of its namespace's", async () => {
    await using cluster = new Injection();
    cluster.network("a");
    cluster.network("b");
    cluster.network("c", "other");
    cluster.space("jobs", { [rdma]: "ai" });
    assert.equal((await cluster.ask("jobs")).given, "net/a,net/b");
    assert.equal((await cluster.ask("jobs", { [rdma]: "other" })).given, "net/c");
  });

  it("leaves Pods alone that request nothing, and Pods in excluded namespaces and the release's own", async () => {
    await using cluster = new Injection();
    cluster.network("a");
    for (const [namespace, notes] of [
      ["jobs", {}],
      ["kube-system", { [rdma]: "ai" }],
      ["release", { [rdma]: "nonsense" }],
    ] as const) {
      const { allowed, changed } = await cluster.ask(namespace, notes);
      assert.deepEqual([allowed, changed], [true, false], namespace);
    }
  });

  it("refuses a Pod that requests networks which do not exist, in the API server's words", async () => {
    await using cluster = new Injection();
    const { allowed, status } = await cluster.ask("jobs", { [rdma]: "ai" });
    assert.equal(allowed, false);
    assert.match(
      status?.message ?? "",
      /^Pod "" is invalid: metadata.annotations\[cni.spidernet.io\/rdma-resource-inject\]: Invalid value: "ai": no spidermultusconfigs/,
    );
  });

  it("reads a namespace and networks that its watches do not show yet from the API server", async () => {
    await using cluster = new Injection();
    await cluster.settle();
    cluster.freeze();
    cluster.network("a");
    cluster.space("jobs", { [rdma]: "ai" });
    assert.equal((await cluster.ask("jobs")).given, "net/a");
  });

  it("is served only if it is switched on", async () => {
    await using cluster = new TestCluster();
    await cluster.start();
    // Whole Namespaces are watched for their annotations; the leader alone watches metadata, for their labels.
    const watched = () =>
      cluster.api.requests.some(
        ({ path, headers }) =>
          path.startsWith("/api/v1/namespaces?") && !headers["accept"]?.includes("as=PartialObjectMetadata"),
      );
    assert.equal(watched(), false);
    await cluster.start({ podName: "b" }, { conf: "podResourceInject: {enabled: true}" });
    assert.equal(watched(), true);
  });
});
