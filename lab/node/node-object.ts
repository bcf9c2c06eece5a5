import { availableParallelism, totalmem } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "#base";
import { isStatus, type LabClient } from "../api/index.ts";
import { apiTime, conditionOf, type Lease, type Node } from "../controllers/index.ts";

interface NodeIdentity {
  readonly name: string;
  readonly managementIp: string;
  readonly port: number;
}

/** Creates the Node, or adopts an existing one with its extended resources. */
export async function registerNode(client: LabClient, { name, managementIp, port }: NodeIdentity): Promise<void> {
  const labels = {
    "kubernetes.io/hostname": name,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": process.arch === "x64" ? "amd64" : process.arch,
  };
  try {
    await client.create("v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name, labels }, spec: {} });
  } catch (error) {
    if (!isStatus(error, 409)) throw error;
    await client.patch("v1/nodes", { name }, { metadata: { labels } });
  }
  const capacity = { cpu: String(availableParallelism()), memory: `${Math.floor(totalmem() / 1_024)}Ki`, pods: "110" };
  const status = {
    capacity,
    allocatable: capacity,
    addresses: [
      { type: "InternalIP", address: managementIp },
      { type: "Hostname", address: name },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
    nodeInfo: {
      kubeletVersion: "v1.35.0-lab",
      operatingSystem: "linux",
      containerRuntimeVersion: "lab://1",
      osImage: "lab",
    },
  };
  await client.patch("v1/nodes", { name }, { status }, { subresource: "status" });
}

/**
 * The patch that derives `allocatable` from `capacity`, as a kubelet does: copies extended resources and removes those that are
 * no longer in `capacity`. Undefined if nothing differs. Pure.
 */
export function allocatablePatch({ status }: Node): Readonly<Record<string, string | null>> | undefined {
  const { capacity = {}, allocatable = {} } = status ?? {};
  if (isDeepStrictEqual(capacity, allocatable)) return undefined;
  const gone = Object.keys(allocatable).filter((resource) => !(resource in capacity));
  return { ...capacity, ...Object.fromEntries(gone.map((resource) => [resource, null])) };
}

/** Reports whether the node is ready; writes only changes. `problem` is the runtime's own text. */
export async function reportReady(
  client: LabClient,
  node: Node,
  problem: string | undefined,
  clock: Clock,
): Promise<void> {
  const status = problem === undefined ? "True" : "False";
  if (conditionOf(node, "Ready") === status) return;
  const why =
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error";
  const ready = {
    type: "Ready",
    status,
    reason: problem === undefined ? "KubeletReady" : "KubeletNotReady",
    message: problem === undefined ? "kubelet is posting ready status" : `${why}: ${problem}`,
    lastTransitionTime: apiTime(clock.wall()),
  };
  const others = node.status?.conditions?.filter(({ type }) => type !== "Ready") ?? [];
  const patch = { status: { conditions: [...others, ready] } };
  await client.patch("v1/nodes", { name: node.metadata.name }, patch, { subresource: "status" });
}

/** Renews the node's lease, which tells the control plane that the node is alive. */
export async function renewLease(client: LabClient, name: string, clock: Clock): Promise<void> {
  const ref = { namespace: "kube-node-lease", name };
  const spec = {
    holderIdentity: name,
    leaseDurationSeconds: 6,
    renewTime: clock.wall().toISOString().replace("Z", "000Z"), // MicroTime
  };
  try {
    await client.patch<Lease>("coordination.k8s.io/v1/leases", ref, { spec });
  } catch (error) {
    if (!isStatus(error, 404)) throw error;
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: ref, spec };
    await client.create("coordination.k8s.io/v1/leases", lease);
  }
}
