// Who may do what, on a real kube-apiserver: an agent with the token of its Pod tries to do more than it may, and everything
// that it must. Run as process 1 of namespaces of its own (see scripts/cluster.ts).
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { annotations, type SpiderIPAddress, spiderEndpoints, spiderIPAddresses, writeDoubts } from "#api";
import { never, type SpiderError } from "#base";
import { type Draft, events, hasReason, type KubeClient, type Node, nodes, type Pod, pods } from "#kube";
import { findHelm } from "../../lab/tools/helm.ts";
import { run } from "../../lab/topology/index.ts";
import { clientOf, kubeconfigOfToken, startApiServer, withoutAccounts } from "./api-server.ts";
import { claimDraft } from "./claims.ts";
import { refusal } from "./refusal.ts";

const plane = await startApiServer([withoutAccounts]);
const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));
const namespace = "kube-system";
const { client: admin, kubectl } = plane;
const helm = await findHelm();
const shown = ["admission-policy", "rbac-agent", "rbac-controller"].flatMap((name) => [
  "--show-only",
  `templates/${name}.yaml`,
]);
const accountOf = (name: string) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } });
const account = accountOf("spiderpool-agent");
const leader = accountOf("spiderpool-controller");
await kubectl(["apply", "-f", `${chart}/crds`]);
await kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
await kubectl(["apply", "-f", "-"], await run([helm, "template", "spiderpool", chart, "-n", namespace, ...shown]));
await kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: [account, leader] }));

const o = { signal: never };
for (const name of ["node1", "node2"]) await admin.create(nodes, { metadata: { name } } as Draft<Node>, o);
const [agent1, agent2] = [await agentOf("node1"), await agentOf("node2")];
const tokenOf = async ({ metadata }: typeof account) =>
  clientWith((await kubectl(["create", "token", "-n", namespace, metadata.name])).trim());
/** Has the account's rights, but belongs to no node. */
const nowhere = await tokenOf(account);
const controller = await tokenOf(leader);

/** A client that knows nothing but a token. */
function clientWith(token: string): KubeClient {
  return clientOf(kubeconfigOfToken(plane.admin, token));
}

/** The agent of a node. Its token is signed by the API server for its Pod, like the one that the kubelet would mount. */
async function agentOf(nodeName: string): Promise<KubeClient> {
  const { name, uid } = (
    await admin.create(pods, podDraft(`agent-${nodeName}`, nodeName, { serviceAccountName: account.metadata.name }), o)
  ).metadata;
  const bound = ["--bound-object-kind", "Pod", "--bound-object-name", name, "--bound-object-uid", uid];
  return clientWith((await kubectl(["create", "token", "-n", namespace, account.metadata.name, ...bound])).trim());
}

function podDraft(name: string, nodeName: string, spec: object = {}): Draft<Pod> {
  return {
    metadata: { namespace, name },
    spec: { nodeName, containers: [{ name: "app", image: "none" }], ...spec },
  } as unknown as Draft<Pod>;
}

let last = 0;
/** A claim of node1's, with an address of its own. */
function claim(spec: object = {}): Draft<SpiderIPAddress> {
  last += 1;
  return claimDraft(`10.0.${last >> 8}.${last & 255}`, { node: "node1", ...spec });
}

/** A sticky claim that no node holds. */
const kept = { purpose: "Sticky", node: undefined, bootID: undefined, containerID: undefined, podUID: undefined };
const held = (node: string) => ({ purpose: "Sticky", node });

const create = (who: KubeClient, draft: Draft<SpiderIPAddress>) => who.create(spiderIPAddresses, draft, o);
const made = (spec: object) => create(admin, claim(spec));
const change = (who: KubeClient, found: SpiderIPAddress, spec: object, metadata: object = {}) =>
  who.update(
    spiderIPAddresses,
    { metadata: { ...found.metadata, ...metadata }, spec: { ...found.spec, ...spec } } as SpiderIPAddress,
    o,
  );
const remove = (who: KubeClient, { metadata }: SpiderIPAddress) =>
  who.delete(
    spiderIPAddresses,
    { name: metadata.name },
    { ...o, preconditions: { uid: metadata.uid, resourceVersion: metadata.resourceVersion ?? "" } },
  );

/** Asserts that a policy refuses the call in these words. */
async function cheat(call: Promise<unknown>, words: RegExp): Promise<void> {
  const { serverMessage: message } = await refusal(call);
  assert.match(message, /ValidatingAdmissionPolicy 'spiderpool-(agent|controller)-/);
  assert.match(message, words);
}

/** Waits until policies are compiled. Until then they refuse nothing. */
async function untilEnforced(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    const stray = claim({ node: "node2" });
    const refused = await create(agent1, stray).then(
      () => false,
      (error: unknown) => hasReason(error, "Invalid", "Forbidden"),
    );
    if (refused) return;
    await admin.delete(spiderIPAddresses, { name: String(stray.spec.address) }, o);
    await delay(50);
  }
  assert.fail("the policies are not enforced");
}
await untilEnforced();

describe("claims: an agent", () => {
  it("creates those of its own node, and of no other", async () => {
    await create(agent1, claim());
    await create(agent2, claim({ node: "node2" }));
    await create(agent1, claim(held("node1")));
    const words = /creates claims of its own node only/;
    await cheat(create(agent1, claim({ node: "node2" })), words);
    await cheat(create(agent1, claim(kept)), words);
    await cheat(create(agent1, claim({ ...held("node1"), nextNode: "node2", nextPodUID: "x" })), words);
    const until = { until: "2100-01-01T00:00:00Z", reason: "mine" };
    await cheat(create(agent1, claim({ purpose: "Hold", ...until })), words);
    await cheat(create(agent1, claim({ purpose: "Quarantine", ...until })), words);
  });

  it("whose token names no node does nothing", async () => {
    await cheat(create(nowhere, claim({ node: "" })), /names no node/);
    await cheat(create(nowhere, claim(kept)), /names no node/);
    await cheat(remove(nowhere, await made(kept)), /names no node/);
  });

  it("deletes those of its own node and kept ones that no node holds", async () => {
    assert.equal(await remove(agent1, await made({})), "deleted");
    assert.equal(await remove(agent1, await made(kept)), "deleted");
    const words = /deletes claims of its own node/;
    await cheat(remove(agent1, await made({ node: "node2" })), words);
    await cheat(remove(agent1, await made(held("node2"))), words);
    const until = { node: undefined, until: "2100-01-01T00:00:00Z", reason: "r", containerID: undefined };
    await cheat(remove(agent1, await made({ purpose: "Hold", ...until })), words);
    await cheat(remove(agent1, await made({ purpose: "Quarantine", ...until })), words);
  });

  it("changes those of its own node, and hands none to another", async () => {
    await change(agent1, await made({}), { containerID: "d" });
    await change(agent1, await made(held("node1")), { node: undefined, containerID: undefined });
    const words = /changes claims of its own node/;
    await cheat(change(agent1, await made({ node: "node2" }), { containerID: "d" }), words);
    await cheat(change(agent1, await made(held("node1")), { node: "node2" }), words);
    await cheat(change(agent1, await made(held("node1")), { nextNode: "node2", nextPodUID: "n" }), words);
    await cheat(change(agent1, await made({ node: "node2" }), {}, { labels: { pool: "q" } }), words);
  });

  it("takes kept ones to its own node, and not to another", async () => {
    const taken = { node: "node1", podUID: "new", containerID: "n" };
    await change(agent1, await made(kept), taken);
    const words = /takes kept ones/;
    await cheat(change(agent1, await made(kept), { ...taken, node: "node2" }), words);
    await cheat(change(agent1, await made(kept), { answer: "{}" }), words);
    // Nobody may do that, whoever he is.
    assert.match(
      (await refusal(change(agent1, await made(held("node2")), taken))).serverMessage,
      /only through detached/,
    );
  });

  it("joins as second holder, leaves, and takes over, and changes nothing else by that", async () => {
    const join = { nextNode: "node1", nextPodUID: "n", nextPodName: "m", nextContainerID: "nc" };
    const joined = await change(agent1, await made(held("node2")), join);
    const left = { nextNode: undefined, nextPodUID: undefined, nextPodName: undefined, nextContainerID: undefined };
    await change(agent1, joined, left);
    const other = await change(agent1, await made(held("node2")), join);
    await change(agent1, other, { ...left, node: "node1", podUID: "n", podName: "m", containerID: "nc" });
    const words = /joins as second holder/;
    await cheat(change(agent1, await made(held("node2")), { ...join, nextNode: "node2" }), words);
    await cheat(change(agent1, await made(held("node2")), { ...join, answer: "{}" }), words);
    await cheat(change(agent1, await made(held("node2")), { ...join, containerID: "stolen" }), words);
    await cheat(change(agent1, await made(held("node2")), { answer: "{}" }), words);
    await cheat(change(agent1, await made({ ...held("node2"), ...join, nextNode: "node2" }), left), words);
    // A Pod's claim has none: its schema says so to everybody.
    const joinsPod = change(agent1, await made({ node: "node2" }), join);
    assert.match((await refusal(joinsPod)).serverMessage, /"spec" must not validate the schema/);
    const until = { until: "2100-01-01T00:00:00Z", reason: "r" };
    await cheat(change(agent1, await made(held("node2")), { ...until, purpose: "Quarantine" }), words);
  });

  it("does not hinder their deletion", async () => {
    const words = /does not hinder the deletion/;
    const finalizers = ["example.org/stay"];
    await cheat(change(agent1, await made({}), {}, { finalizers }), words);
    const draft = claim();
    await cheat(create(agent1, { ...draft, metadata: { ...draft.metadata, finalizers } }), words);
    const ownerReferences = [{ apiVersion: "v1", kind: "Node", name: "node1", uid: "u" }];
    const owned = claim();
    await cheat(create(agent1, { ...owned, metadata: { ...owned.metadata, ownerReferences } }), words);
  });
});

describe("endpoints: an agent", () => {
  const draft = (name: string, node: string, uid = "u") => ({
    metadata: { namespace: "default", name },
    status: { current: { uid, node, ips: [] }, ownerControllerType: "Pod", ownerControllerName: name },
  });

  it("writes those of its own node, and takes one over with the next Pod only", async () => {
    const own = await agent1.create(spiderEndpoints, draft("own", "node1"), o);
    await agent1.update(spiderEndpoints, { ...own, status: { ...own.status, ownerControllerName: "x" } }, o);
    const other = await admin.create(spiderEndpoints, draft("other", "node2"), o);
    const mine = { ...other, ...draft("other", "node1"), metadata: other.metadata };
    await cheat(agent1.create(spiderEndpoints, draft("stray", "node2"), o), /own node only/);
    await cheat(agent1.update(spiderEndpoints, { ...other, status: { ...other.status } }, o), /own node only/);
    await cheat(agent1.update(spiderEndpoints, mine, o), /taken over with the next Pod only/);
    const next = { ...other, ...draft("other", "node1", "next"), metadata: other.metadata };
    await agent1.update(spiderEndpoints, next, o);
  });
});

describe("Pods: an agent", () => {
  const status = "k8s.v1.cni.cncf.io/network-status";
  const patch = (who: KubeClient, name: string, body: Record<string, unknown>) =>
    who.patch(pods, { namespace, name }, { kind: "merge", body }, { ...o, subresource: "status" });

  it("tells the networks of those of its own node, and changes nothing else", async () => {
    await admin.create(pods, podDraft("here", "node1"), o);
    await admin.create(pods, podDraft("there", "node2"), o);
    await patch(agent1, "here", { metadata: { annotations: { [status]: "[]" } } });
    await patch(agent1, "here", { metadata: { annotations: { [status]: null } } });
    await cheat(patch(agent1, "there", { metadata: { annotations: { [status]: "[]" } } }), /own node only/);
    await cheat(patch(agent1, "here", { metadata: { annotations: { other: "x" } } }), /network-status only/);
    await cheat(patch(agent1, "here", { metadata: { labels: { app: "x" } } }), /annotations of Pods, nothing else/);
    await cheat(patch(agent1, "here", { status: { phase: "Failed" } }), /annotations of Pods, nothing else/);
    await cheat(patch(agent1, "here", { metadata: { finalizers: ["example.org/x"] } }), /nothing else/);
    await cheat(patch(nowhere, "here", { metadata: { annotations: { [status]: "[]" } } }), /names no node/);
  });
});

describe("nodes: an agent", () => {
  const bridge = "ovs-cni.network.kubevirt.io/br1";
  const patch = (who: KubeClient, name: string, body: Record<string, unknown>) =>
    who.patch(nodes, { name }, { kind: "merge", body }, { ...o, subresource: "status" });

  it("is told by the controller what to look at, which changes nothing else of nodes", async () => {
    const noted = (key: string) => ({ metadata: { annotations: { [key]: writeDoubts(["10.0.0.1"], new Date()) } } });
    await patch(controller, "node1", noted(annotations.doubts));
    await cheat(patch(controller, "node1", noted(annotations.ledgerClosed)), /changes ipam.spidernet.io\/doubts only/);
    await cheat(
      patch(controller, "node1", { metadata: { labels: { a: "b" } } }),
      /an annotation of nodes, nothing else/,
    );
    await cheat(
      patch(controller, "node1", { status: { capacity: { cpu: "1" } } }),
      /an annotation of nodes, nothing else/,
    );
    assert.match(
      (await refusal(controller.patch(nodes, { name: "node1" }, { kind: "merge", body: {} }, o))).serverMessage,
      /forbidden/,
    );
    await cheat(patch(agent1, "node1", noted(annotations.doubts)), /changes ipam.spidernet.io\/ledger-closed only/);
  });

  it("offers the bridges of its own, and changes nothing else", async () => {
    const offered = { capacity: { [bridge]: "1000" }, allocatable: { [bridge]: "1000" } };
    await patch(agent1, "node1", { status: offered });
    await patch(agent1, "node1", { status: { capacity: { [bridge]: null }, allocatable: { [bridge]: null } } });
    await cheat(patch(agent1, "node2", { status: offered }), /own node only/);
    await cheat(patch(agent1, "node1", { status: { capacity: { cpu: "1k" } } }), /bridges only/);
    await cheat(patch(agent1, "node1", { status: { allocatable: { "example.org/gpu": "8" } } }), /bridges only/);
    const conditions = [{ type: "Ready", status: "False" }];
    await cheat(patch(agent1, "node1", { status: { conditions } }), /nothing else/);
    await cheat(patch(agent1, "node1", { metadata: { labels: { "node-role": "x" } } }), /nothing else/);
    await patch(agent1, "node1", { metadata: { annotations: { [annotations.ledgerClosed]: "t" } } });
    await cheat(patch(agent1, "node1", { metadata: { annotations: { other: "x" } } }), /ledger-closed only/);
  });
});

describe("Events: an agent", () => {
  const draft = (host: string, component = "spiderpool-agent") => ({
    metadata: { namespace: "default", generateName: "e." },
    involvedObject: { apiVersion: "v1", kind: "Node", name: host },
    type: "Warning",
    reason: "Test",
    message: "m",
    source: { component, host },
  });

  it("writes them in its own name only", async () => {
    await agent1.create(events, draft("node1"), o);
    await cheat(agent1.create(events, draft("node2"), o), /own name only/);
    await cheat(agent1.create(events, draft("node1", "kubelet"), o), /own name only/);
  });
});

/** Which of these rights (`verb resource` or `verb resource/name`) a ServiceAccount of the release has in any namespace. */
async function mayDo(accountName: string, asked: readonly string[], where = ["-A"]): Promise<readonly string[]> {
  const as = ["--as", `system:serviceaccount:${namespace}:${accountName}`];
  const allowed = await Promise.all(
    asked.map(async (what) => {
      const [verb = "", resource = ""] = what.split(" ");
      // `can-i` answers "no" with status 1.
      const stdout = await kubectl(["auth", "can-i", verb, resource, ...where, ...as]).catch(
        ({ details }: SpiderError) => String(details["stdout"]),
      );
      return stdout.startsWith("no") ? [] : [what];
    }),
  );
  return allowed.flat();
}

describe("an agent's rights", () => {
  it("are none to read secrets, run or delete anything, change pools, kinds, rights or workloads", async () => {
    const refused = [
      ...["get secrets", "list secrets", "create pods", "delete pods", "patch pods", "create pods/exec"],
      ...["update nodes", "patch nodes", "delete nodes", "get configmaps", "create serviceaccounts/token"],
      ...["update spiderippools", "delete spiderippools", "create spiderippools", "delete spiderendpoints"],
      ...["patch spideripaddresses", "deletecollection spideripaddresses", "create network-attachment-definitions"],
      ...["get customresourcedefinitions", "create clusterrolebindings", "patch deployments", "update daemonsets"],
      ...["patch validatingadmissionpolicies", "patch validatingwebhookconfigurations", "impersonate users"],
    ];
    assert.deepEqual(await mayDo(account.metadata.name, refused), []);
  });
});

describe("the controller's rights", () => {
  it("are none to read Secrets and ConfigMaps of others, elect for others, run anything, or write what only users write", async () => {
    const refused = [
      ...["get secrets", "list secrets", "list configmaps", "get configmaps", "create pods", "delete pods"],
      ...["patch pods", "create pods/exec", "update nodes", "patch nodes", "create serviceaccounts/token"],
      ...["get leases", "update leases", "create leases", "patch events", "patch deployments"],
      ...["create spidermultusconfigs", "update spidermultusconfigs", "delete spidermultusconfigs"],
      ...["update spiderreservedips", "create spidersubnets", "delete spidersubnets", "delete spidercoordinators"],
      ...["patch spideripaddresses", "patch spiderendpoints", "delete network-attachment-definitions"],
      ...["create customresourcedefinitions", "create clusterrolebindings", "create validatingwebhookconfigurations"],
    ];
    assert.deepEqual(await mayDo("spiderpool-controller", refused), []);
    const own = ["get leases/spiderpool-controller-leases", "create leases", "get configmaps/kubeadm-config"];
    assert.deepEqual(await mayDo("spiderpool-controller", own, ["-n", namespace]), own);
    assert.deepEqual(await mayDo("spiderpool-controller", ["get leases/kube-scheduler"], ["-n", namespace]), []);
  });
});
