import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  bridgeResourcePrefix,
  isLost,
  isTakeOver,
  annotations as keys,
  lostToken,
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  uninstallAnnotation,
} from "#api";
import { hasCode, never } from "#base";
import {
  type CustomResourceDefinition,
  customResourceDefinitions,
  daemonSets,
  deployments,
  jobs,
  KubeClient,
  type KubeObject,
  leases,
  nodes,
  pods,
  type Resource,
} from "#kube";
import { ManualClock } from "../base/testing/manual-clock.ts";
import { FakeApi } from "../kube/testing/fake-api.ts";
import { clean } from "./clean.ts";
import { extended, updateKinds } from "./crds.ts";
import { nodeNetwork } from "./default-network.ts";
import { differencesOf, install, readWanted } from "./install.ts";
import { mark } from "./nodes.ts";
import { readOptions } from "./options.ts";
import { prepare } from "./prepare.ts";
import { isFinal } from "./retry.ts";

const { ledgerClosed } = keys;
const folder = mkdtempSync(join(tmpdir(), "spiderpool-init-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** An API in memory, and the lines that were printed. Time passes by itself. */
function world() {
  const clock = new ManualClock();
  const api = new FakeApi({ clock });
  const said: string[] = [];
  const deps = { client: new KubeClient({ transport: api, clock }), clock, say: (line: string) => said.push(line) };
  const finish = async <T>(work: Promise<T>, meanwhile = () => {}): Promise<T> => {
    let done = false;
    const settled = work.finally(() => {
      done = true;
    });
    settled.catch(() => {});
    for (; !done; meanwhile()) await clock.advance(100);
    return settled;
  };
  return { api, deps, said, finish, o: { signal: never } };
}

const wanted = `
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderCoordinator
metadata: {name: default}
spec: {"mode": "auto", "vethMTU": 1500}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: p}
spec: {"subnet": "172.18.0.0/16", "ips": ["172.18.1.1"]}
`;
const options = { command: "install", kubeconfig: undefined, namespace: "kube-system", cniConfDir: undefined } as const;

describe("install()", () => {
  it("creates absent objects, and compares existing ones without changing them", async () => {
    const { api, deps, said, finish, o } = world();
    api.apply(spiderCoordinators, { metadata: { name: "default" }, spec: { mode: "underlay", vethMTU: 1500 } });
    await finish(install({ ...options, objects: write("objects", wanted) }, deps, o));
    assert.deepEqual(said, [
      'SpiderCoordinator default: is there, left as it is, although spec.mode is "underlay", not "auto"',
      "SpiderIPPool p: created",
    ]);
    assert.equal(api.read(spiderIPPools, { name: "p" })?.spec.subnet, "172.18.0.0/16");
    said.length = 0;
    await finish(install({ ...options, objects: join(folder, "objects") }, deps, o));
    assert.equal(said.filter((line) => line.endsWith("created")).length, 0);
  });

  it("waits for a controller that is not there yet, and gives up at once if it is refused", async () => {
    const { api, deps, said, finish, o } = world();
    const objects = write("objects", wanted);
    const posts = ({ method }: { readonly method: string }) => method === "POST";
    api.fail(posts, { kind: "status", status: 500, reason: "InternalError" }, 3);
    api.fail(posts, { kind: "lost-after" });
    await finish(install({ ...options, objects }, deps, o));
    assert.ok(api.read(spiderIPPools, { name: "p" }) !== undefined);
    assert.equal(said.filter((line) => line.startsWith("waiting: injected InternalError")).length, 1);

    api.remove(spiderIPPools, { name: "p" });
    api.fail(posts, { kind: "status", status: 422, reason: "Invalid" });
    await assert.rejects(finish(install({ ...options, objects }, deps, o)), (error) => isFinal(error));
  });

  it("refuses objects of other kinds", () => {
    assert.throws(() => readWanted("kind: Secret\nmetadata: {name: a}"), /"Secret", allowed are SpiderCoordinator/);
  });
});

describe("differencesOf()", () => {
  it("names differing fields, and ignores fields that were not wanted", () => {
    assert.deepEqual(differencesOf({ a: 1, b: { c: [1] } }, { a: 1, b: { c: [1], d: 2 }, e: 3 }), []);
    assert.deepEqual(differencesOf({ b: { c: [1] } }, { b: { c: [2] } }), ["spec.b.c is [2], not [1]"]);
  });
});

describe("nodeNetwork()", () => {
  const name = (files: Readonly<Record<string, string>>) => {
    const directory = mkdtempSync(join(folder, "cni-"));
    for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text);
    const { object } = nodeNetwork(directory, "kube-system");
    return [object.metadata.name, Object.values(object.metadata.annotations ?? {})[0]];
  };

  it("has the name of the node's first configuration that is not ours", () => {
    const files = {
      "00-multus.conf": '{"name":"ours"}',
      "10-b.conflist": '{"name":"cbr0"}',
      "20-c.conf": '{"name":"c"}',
    };
    assert.deepEqual(name(files), ["cbr0", undefined]);
  });

  it("is calico if Calico's is found, and default if there is none with a valid name", () => {
    assert.deepEqual(name({ "10-calico.conflist": '{"name":"k8s-pod-network"}' }), ["calico", "k8s-pod-network"]);
    assert.deepEqual(name({ "a.conf": "{", "b.conf": '{"name":"Not A Name"}', "c.conf.bak": '{"name":"c"}' }), [
      "default",
      undefined,
    ]);
  });
});

const kind = (plural: string, group = "spiderpool.spidernet.io", schema: object = {}): CustomResourceDefinition =>
  ({
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { plural, kind: plural },
      scope: "Cluster",
      versions: [{ name: "v2beta1", served: true, storage: true, schema }],
    },
    status: { conditions: [{ type: "Established", status: "True" }] },
  }) as unknown as CustomResourceDefinition;

describe("updateKinds()", () => {
  it("extends ours, takes nothing away, and leaves a foreign kind alone", async () => {
    const { api, deps, said, finish, o } = world();
    const properties = (...names: readonly string[]) => ({
      openAPIV3Schema: { properties: { spec: { properties: Object.fromEntries(names.map((name) => [name, {}])) } } },
    });
    api.apply(customResourceDefinitions, kind("spiderippools", undefined, properties("old", "both")));
    const foreign = api.apply(
      customResourceDefinitions,
      kind("network-attachment-definitions", "k8s.cni.cncf.io", properties("theirs")),
    );
    const directory = mkdtempSync(join(folder, "crds-"));
    const next = [
      kind("spiderippools", undefined, properties("both", "new")),
      kind("network-attachment-definitions", "k8s.cni.cncf.io", properties("ours")),
    ];
    for (const [index, crd] of next.entries()) writeFileSync(join(directory, `${index}.yaml`), JSON.stringify(crd));
    await finish(updateKinds(directory, deps, o));
    const stored = JSON.stringify(
      api.read(customResourceDefinitions, { name: "spiderippools.spiderpool.spidernet.io" })?.spec,
    );
    for (const name of ["old", "both", "new"]) assert.ok(stored.includes(`"${name}"`), `${name} in ${stored}`);
    assert.deepEqual(api.read(customResourceDefinitions, foreign.metadata), foreign);
    await finish(updateKinds(directory, deps, o));
    assert.equal(said.at(-2), "spiderippools.spiderpool.spidernet.io: is up to date");
  });

  it("closes existing pools if there was no ledger, or agents of another system; those of a lost ledger stay unchanged", async () => {
    const { api, deps, finish, o } = world();
    api.apply(customResourceDefinitions, kind("spiderippools"));
    const pools = ["a", "b"].map((name) =>
      api.apply(spiderIPPools, { metadata: { name }, spec: { subnet: "10.6.0.0/16" } }),
    );
    const directory = mkdtempSync(join(folder, "crds-"));
    for (const plural of ["spiderippools", "spideripaddresses"]) {
      writeFileSync(join(directory, `${plural}.yaml`), JSON.stringify(kind(plural)));
    }
    const closed = () =>
      pools.map(({ metadata }) => api.read(spiderIPPools, metadata)?.metadata.annotations?.[ledgerClosed]);
    const options = { command: "crds", kubeconfig: undefined, crds: directory, agents: undefined } as const;
    // Serves a new kind, as an API server does.
    const establish = () => {
      const made = api.read(customResourceDefinitions, { name: "spideripaddresses.spiderpool.spidernet.io" });
      if (made !== undefined && made.status === undefined)
        api.apply(customResourceDefinitions, {
          ...kind("spideripaddresses"),
          ...made,
          status: kind("spideripaddresses").status,
        });
    };
    await finish(prepare(options, deps, o), establish);
    assert.ok(closed().every(isTakeOver), String(closed()));
    const opened = { [ledgerClosed]: "lost" };
    for (const pool of pools) api.apply(spiderIPPools, { ...pool, metadata: { ...pool.metadata, annotations: {} } });
    await finish(prepare(options, deps, o));
    assert.deepEqual(closed(), [undefined, undefined], "there is a ledger");
    const [first = assert.fail()] = pools;
    api.apply(spiderIPPools, { ...first, metadata: { ...first.metadata, annotations: opened } });
    const agents = { namespace: "kube-system", name: "spiderpool-agent" };
    const withAnnotations = (annotations: Readonly<Record<string, string>>) =>
      api.apply(daemonSets, { metadata: agents, spec: { template: { metadata: { annotations } } } });
    withAnnotations({ "checksum/config": "1" });
    await finish(prepare({ ...options, agents }, deps, o));
    assert.deepEqual(closed(), ["lost", undefined], "agents of this chart keep the ledger");
    withAnnotations({});
    await finish(prepare({ ...options, agents }, deps, o));
    const [lost, taken] = closed();
    assert.deepEqual([lost, isTakeOver(taken)], ["lost", true]);
    await finish(prepare({ ...options, agents: { ...agents, name: "absent" } }, deps, o));
    const [, second] = closed();
    assert.deepEqual([isTakeOver(second), second === taken], [true, false], "an earlier take-over is made anew");
  });

  it("keeps a version that only the existing kind has, no longer stored", () => {
    const before = kind("spiderippools");
    const old = { ...before, spec: { ...before.spec, versions: [{ name: "v1", served: true, storage: true }] } };
    assert.deepEqual(
      extended(old, before).spec.versions.map((version) => [version.name, version["storage"]]),
      [
        ["v2beta1", true],
        ["v1", false],
      ],
    );
  });
});

const admission = (plural: string): Resource<KubeObject> => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural,
  kind: plural,
  namespaced: false,
});
const removal = {
  command: "clean",
  kubeconfig: undefined,
  namespace: "kube-system",
  release: "spiderpool",
  controller: "ctl",
  agents: "agent",
  hookJob: "hook",
  jobs: ["spiderpool-init"],
  force: false,
  yes: false,
} as const;
const namespace = "kube-system";

/** A release that Helm removes, with a pool that a finalizer holds. */
function installed() {
  const made = world();
  const { api } = made;
  const annotations = { "meta.helm.sh/release-name": "spiderpool" };
  const labels = { "app.kubernetes.io/instance": "spiderpool" };
  api.apply(deployments, { metadata: { namespace, name: "ctl", annotations } });
  api.apply(jobs, { metadata: { namespace, name: "hook" } });
  api.apply(leases, { metadata: { namespace, name: "spiderpool-controller-leases" }, spec: { holderIdentity: "a" } });
  api.apply(jobs, { metadata: { namespace, name: "spiderpool-init", labels } });
  const pools = kind("spiderippools");
  api.apply(customResourceDefinitions, {
    ...pools,
    metadata: { ...pools.metadata, finalizers: ["customresourcecleanup"] },
  });
  api.apply(customResourceDefinitions, kind("sriovnetworks", "sriovnetwork.openshift.io"));
  api.apply(spiderIPPools, { metadata: { name: "p", finalizers: ["spiderpool.spidernet.io"] }, spec: {} });
  api.apply(admission("validatingwebhookconfigurations"), { metadata: { name: "ctl", labels } });
  api.apply(admission("mutatingwebhookconfigurations"), { metadata: { name: "ctl" } });
  const owner = { apiVersion: "spiderpool.spidernet.io/v2beta1", kind: "SpiderMultusConfig", name: "n", uid: "u" };
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "made", ownerReferences: [owner] } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "by-hand" } });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "never-filled", labels }, spec: {} });
  api.apply(networkAttachmentDefinitions, { metadata: { namespace, name: "filled", labels }, spec: { config: "{}" } });
  return made;
}

/** Acts as the server does with a terminating kind: deletes its objects, then the kind. */
function serverOf(api: FakeApi): () => void {
  const ref = { name: "spiderippools.spiderpool.spidernet.io" };
  return () => {
    if (api.read(customResourceDefinitions, ref)?.metadata.deletionTimestamp === undefined) return;
    const [pool] = api.all(spiderIPPools);
    if (pool === undefined) api.remove(customResourceDefinitions, ref);
    else if ((pool.metadata.finalizers ?? []).length === 0) api.remove(spiderIPPools, pool.metadata);
  };
}

function claim(api: FakeApi, address: string, podUID: string) {
  const spec = { address, purpose: "Pod", podNamespace: "default", podName: `pod-${podUID}`, podUID, node: "n1" };
  api.apply(spiderIPAddresses, { metadata: { name: address }, spec });
}

describe("clean()", () => {
  it("removes everything of ours and nothing else, and reports each", async () => {
    const { api, deps, said, finish, o } = installed();
    await finish(clean(removal, deps, o), serverOf(api));
    assert.deepEqual(
      api.all(customResourceDefinitions).map(({ metadata }) => metadata.name),
      ["sriovnetworks.sriovnetwork.openshift.io"],
    );
    assert.deepEqual(api.all(spiderIPPools), []);
    assert.deepEqual(
      api.all(networkAttachmentDefinitions).map(({ metadata }) => metadata.name),
      ["by-hand", "filled"],
    );
    assert.equal(api.all(admission("validatingwebhookconfigurations")).length, 0);
    assert.equal(api.all(admission("mutatingwebhookconfigurations")).length, 1);
    assert.ok(said.includes("MutatingWebhookConfiguration ctl: not ours, stays"));
    assert.ok(said.includes("spiderippools p: deleted with its kind"));
    assert.ok(said.includes("Job kube-system/spiderpool-init: deleted"));
    assert.ok(api.read(jobs, { namespace, name: "hook" }) !== undefined);
    const lease = api.read(leases, { namespace, name: "spiderpool-controller-leases" });
    assert.equal(lease?.metadata.ownerReferences?.[0]?.name, "ctl");
    assert.equal(lease?.spec?.holderIdentity, "a");
  });

  it("removes from Nodes what agents wrote there; agents learn from their DaemonSet that the release is removed", async () => {
    const { api, deps, said, finish, o } = installed();
    api.apply(daemonSets, { metadata: { namespace, name: "agent" } });
    const [bridge, cpu] = [`${bridgeResourcePrefix}br1`, { cpu: "4" }];
    const marked = lostToken("1");
    const node = (name: string, noted: Record<string, string>, offered: object) =>
      api.apply(nodes, {
        metadata: { name, annotations: { other: "x", ...noted } },
        status: { capacity: { ...cpu, ...offered }, allocatable: { ...cpu, ...offered } },
      });
    node("n1", { [keys.ledgerClosed]: "t", [keys.doubts]: "{}" }, { [bridge]: "1000" });
    node("n2", { [keys.ledgerClosed]: marked }, {});
    await finish(clean(removal, deps, o), serverOf(api));
    const left = api
      .all(nodes)
      .map(({ metadata: { annotations }, status }) => [annotations, status?.capacity, status?.allocatable]);
    assert.deepEqual(left, [
      [{ other: "x" }, cpu, cpu],
      [{ other: "x", [keys.ledgerClosed]: marked }, cpu, cpu],
    ]);
    const ref = { namespace, name: "agent" };
    assert.equal(api.read(daemonSets, ref)?.metadata.annotations?.[uninstallAnnotation], "true");
    assert.deepEqual(
      said.filter((line) => line.startsWith("Node")),
      ["Node n1: what agents wrote there is gone"],
    );
    await finish(mark(ref, undefined, deps, o));
    assert.equal(api.read(daemonSets, ref)?.metadata.annotations?.[uninstallAnnotation], undefined);
  });

  it("touches a kind whose deletion the server has forgotten", async () => {
    const { api, deps, finish, o } = installed();
    const server = serverOf(api);
    const ref = { name: "spiderippools.spiderpool.spidernet.io" };
    await finish(clean(removal, deps, o), () => {
      if (
        api.read(customResourceDefinitions, ref)?.metadata.annotations?.["spiderpool.spidernet.io/removal"] !==
        undefined
      )
        server();
    });
    assert.equal(api.read(customResourceDefinitions, ref), undefined);
  });

  const refused = async (made: ReturnType<typeof installed>, reason: RegExp) => {
    const before = made.api.requests.length;
    await assert.rejects(
      made.finish(clean(removal, made.deps, made.o)),
      (error) => hasCode(error, "CLEAN_REFUSED") && reason.test(error.message) && isFinal(error),
    );
    const writes = made.api.requests.slice(before).filter(({ method }) => method !== "GET");
    assert.deepEqual(writes, []);
  };

  it("deletes nothing if kubectl applied what helm rendered", async () => {
    const byHand = installed();
    byHand.api.remove(deployments, { namespace, name: "ctl" });
    byHand.api.apply(deployments, { metadata: { namespace, name: "ctl" } });
    await refused(byHand, /belongs to Helm release ""/);
    const applied = installed();
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}" };
    applied.api.remove(jobs, { namespace, name: "hook" });
    applied.api.apply(jobs, { metadata: { namespace, name: "hook", annotations } });
    await refused(applied, /applied by kubectl/);
  });

  it("deletes nothing while Pods have addresses, unless forced; claims of Pods that are gone do not count", async () => {
    const made = installed();
    claim(made.api, "172.18.1.1", "gone");
    claim(made.api, "172.18.1.2", "here");
    made.api.apply(pods, { metadata: { namespace: "default", name: "pod-here", uid: "here" } });
    for (const name of ["n1", "n2"]) made.api.apply(nodes, { metadata: { name } });
    const uid = made.api.read(pods, { namespace: "default", name: "pod-here" })?.metadata.uid ?? "";
    claim(made.api, "172.18.1.2", uid);
    await refused(made, /1 addresses are held by Pods.*172\.18\.1\.2 \(default\/pod-here\)/);
    await made.finish(clean({ ...removal, force: true }, made.deps, made.o), serverOf(made.api));
    assert.equal(made.api.all(customResourceDefinitions).length, 1);
    const lease = made.api.read(leases, { namespace, name: "spiderpool-controller-leases" });
    assert.equal(lease?.metadata.ownerReferences?.[0]?.name, "ctl");
    const marks = () => made.api.all(nodes).map(({ metadata }) => metadata.annotations?.[keys.ledgerClosed]);
    const before = marks();
    assert.deepEqual(before.map(isLost), [true, false], "the next installation is told, in whatever namespace");
    for (const { metadata } of made.api.all(spiderIPAddresses)) made.api.remove(spiderIPAddresses, metadata);
    await made.finish(clean({ ...removal, force: true }, made.deps, made.o), () => {});
    assert.deepEqual(marks(), before, "also where the Job is run once more");
  });
});

describe("readOptions()", () => {
  it("names what is missing, and the commands", () => {
    assert.throws(() => readOptions(["install"], {}), /--objects is not set; SPIDERPOOL_POD_NAMESPACE is not set/);
    assert.throws(() => readOptions(["wipe"], {}), /"wipe", allowed are install, crds, clean/);
    const read = readOptions(["clean", "--release=r", "--controller=c", "--agents=d", "--job=a", "--job=b"], {
      SPIDERPOOL_POD_NAMESPACE: "ns",
    });
    assert.ok(!("print" in read) && read.command === "clean");
    assert.deepEqual([read.jobs, read.force, read.yes], [["a", "b"], false, false]);
  });

  it("leaves the object kinds of the plan to the file", () => {
    assert.deepEqual(
      readWanted(wanted).map(({ resource }) => resource),
      [spiderCoordinators, spiderIPPools],
    );
    assert.ok(spiderMultusConfigs.namespaced);
  });
});
