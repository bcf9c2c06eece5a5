import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { KubeObject, Suite } from "./suite.ts";
import { until } from "./until.ts";

interface PodLike extends KubeObject {
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: { readonly phase?: string; readonly podIP?: string };
}

interface Claim extends KubeObject {
  readonly spec: {
    readonly address: string;
    readonly purpose: string;
    readonly pool: string;
    readonly node?: string;
    readonly podUID?: string;
    readonly nic?: string;
    readonly containerID?: string;
  };
}

interface Endpoint extends KubeObject {
  readonly status?: {
    readonly current?: { readonly uid?: string; readonly ips?: readonly { readonly ipv4?: string }[] };
  };
}

interface Pool extends KubeObject {
  readonly status?: { readonly allocatedIPCount?: number };
}

/** What one node has in its kernel, its Open vSwitch and the agent's records. */
interface NodeState {
  readonly ports: readonly string[];
  readonly links: readonly string[];
  readonly namespaces: readonly string[];
  readonly sandboxes: readonly string[];
  /** Container IDs. */
  readonly records: readonly string[];
}

/** kubelet collects sandboxes that ended without it, as after a power loss, once a minute, but not in its first round. */
const settleSeconds = 300;

/** The usual one, and the one of suites that install into another. */
export const otherNamespace = "elsewhere";
const productNamespaces = ["kube-system", otherNamespace];
const workloads = "deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs,pods";

/**
 * Ends whatever runs outside the product's namespace, and waits until nothing of it is left: in the ledger, its views, the
 * runtime, Open vSwitch, the kernel. The product may have been removed before. Throws AssertionError with what is left.
 */
export async function nothingLeft(suite: Suite): Promise<void> {
  const fields = productNamespaces.map((name) => `metadata.namespace!=${name}`).join(",");
  await suite.kubectl("delete", workloads, "-A", `--field-selector=${fields}`, "--wait=true", "--timeout=300s");
  await until("all Pods gone", async () => none(await suite.list("pods", { namespace: "", fields })));
  await ledgerIsEmpty(suite);
  await settled(suite);
}

/** Waits until nobody has an address. Throws AssertionError after `seconds`. */
export async function ledgerIsEmpty(suite: Suite, seconds?: number): Promise<void> {
  await until("the ledger is empty", async () => none(await suite.list("spideripaddresses")), seconds);
}

const none = (objects: readonly unknown[]) => (objects.length === 0 ? true : undefined);

/** Waits until {@link complaints} has nothing to say. Throws AssertionError with what is still wrong after that. */
export async function settled(suite: Suite): Promise<void> {
  let found: readonly string[] = [];
  for (const untilMs = performance.now() + settleSeconds * 1000; performance.now() < untilMs; await delay(500)) {
    found = await complaints(suite);
    if (found.length === 0) return;
  }
  assert.deepEqual(found, []);
}

/**
 * Compares, object by object, what must agree when nothing is under way: Pods, ledger, views; where these do, the runtime's
 * sandboxes, the agents' records, Open vSwitch's ports and the kernel's links and namespaces. One sentence for each disagreement.
 */
export async function complaints(suite: Suite): Promise<readonly string[]> {
  const [pods, claims, endpoints, pools] = await Promise.all([
    suite.list<PodLike>("pods", { namespace: "" }),
    suite.list<Claim>("spideripaddresses"),
    suite.list<Endpoint>("spiderendpoints", { namespace: "" }),
    suite.list<Pool>("spiderippools"),
  ]);
  const live = pods.filter(
    ({ spec, status }) => !spec.hostNetwork && !["Succeeded", "Failed"].includes(status?.phase ?? ""),
  );
  const ofCluster = [
    ...addressComplaints(live, claims),
    ...endpointComplaints(claims, endpoints),
    ...pools.flatMap(({ metadata: { name }, status }) => {
      const held = claims.filter(({ spec }) => spec.pool === name).length;
      const shown = status?.allocatedIPCount ?? 0;
      return held === shown ? [] : [`pool ${name} shows ${shown} allocated, the ledger has ${held}`];
    }),
  ];
  if (ofCluster.length > 0) return ofCluster; // Nodes are asked by a dozen programs.
  const ofNodes = suite.cluster.nodes.map(async ({ name }) => {
    const here = live.filter(({ spec, status }) => spec.nodeName === name && status?.podIP !== undefined).length;
    return nodeComplaints(name, await nodeState(suite, name), claims, here);
  });
  return (await Promise.all(ofNodes)).flat();
}

function addressComplaints(pods: readonly PodLike[], claims: readonly Claim[]): readonly string[] {
  const byUid = new Map(pods.map((pod) => [pod.metadata.uid, pod]));
  const ips = pods.flatMap(({ status }) => (status?.podIP === undefined ? [] : [status.podIP]));
  return [
    ...ips.filter((ip, index) => ips.indexOf(ip) !== index).map((ip) => `two Pods have ${ip}`),
    ...claims.flatMap(({ spec }) => {
      if (spec.purpose !== "Pod") return [];
      const pod = byUid.get(spec.podUID ?? "");
      if (pod === undefined) return [`${spec.address} is held by Pod ${spec.podUID}, which is gone`];
      const wrong = spec.nic === "eth0" && isIPv4(spec.address) && pod.status?.podIP !== spec.address;
      return wrong ? [`${pod.metadata.name} has ${pod.status?.podIP}, the ledger says ${spec.address}`] : [];
    }),
  ];
}

function endpointComplaints(claims: readonly Claim[], endpoints: readonly Endpoint[]): readonly string[] {
  const shown = endpoints.flatMap(({ status }) => (status?.current?.ips ?? []).map(({ ipv4 }) => ipv4?.split("/")[0]));
  const held = claims.map(({ spec }) => spec.address).filter(isIPv4);
  return [
    ...held.filter((ip) => !shown.includes(ip)).map((ip) => `no SpiderEndpoint shows ${ip}`),
    ...shown
      .filter((ip) => ip !== undefined && !held.includes(ip))
      .map((ip) => `a SpiderEndpoint shows ${ip}, the ledger does not have it`),
  ];
}

function nodeComplaints(node: string, state: NodeState, claims: readonly Claim[], pods: number): readonly string[] {
  const { ports, links, namespaces, sandboxes, records } = state;
  const own = claims.filter(({ spec }) => spec.node === node && spec.containerID !== undefined);
  const holders = new Set(own.map(({ spec }) => spec.containerID));
  const networks = new Set(own.map(({ spec }) => `${spec.podUID} ${spec.nic}`)).size;
  const complain = (what: string, wrong: readonly (string | undefined)[]) =>
    wrong.length === 0 ? [] : [`${node}: ${what}: ${wrong.join(" ")}`];
  return [
    ...(ports.length === networks
      ? []
      : [`${node}: ${networks} NICs in the ledger, ports are ${ports.join(" ") || "none"}`]),
    ...complain(
      "ports without a link",
      ports.filter((port) => !links.includes(port)),
    ),
    ...complain(
      "claims without a sandbox",
      [...holders].filter((id) => !sandboxes.includes(id ?? "")),
    ),
    ...complain(
      "records without a sandbox",
      records.filter((id) => !sandboxes.includes(id)),
    ),
    ...complain("links of no Pod", pods === 0 ? links : []),
    ...(namespaces.length === pods ? [] : [`${node}: ${pods} Pods, ${namespaces.length} network namespaces`]),
  ];
}

const runningSandboxes = `running=$(ctr -n k8s.io task ls | awk '$3 == "RUNNING" { print $1 }')
ctr -n k8s.io containers ls -q 'labels."io.cri-containerd.kind"==sandbox' | grep -F "$running" || true`;

async function nodeState(suite: Suite, node: string): Promise<NodeState> {
  const script = [
    "for bridge in $(ovs-vsctl --timeout=5 list-br 2>/dev/null); do ovs-vsctl --timeout=5 list-ports $bridge; done | grep -v '^eth' || true",
    "ls /sys/class/net | grep '^veth' || true",
    "ls /run/netns",
    // One that ended may stay listed until its Pod is collected.
    runningSandboxes,
    "ls /var/lib/spiderpool/sandboxes 2>/dev/null | sed 's/@.*//' | sort -u",
  ].join("; echo ==; ");
  const sections = (await suite.onNode(node, script)).split("==\n").map((text) => text.split("\n").filter(Boolean));
  const [ports = [], links = [], namespaces = [], sandboxes = [], records = []] = sections;
  return { ports, links, namespaces, sandboxes, records };
}

function isIPv4(address: string): boolean {
  return !address.includes(":");
}
