import type { LabClient } from "../api/index.ts";
import { apiTime } from "./events.ts";
import { conditionOf, type Lease, type Node, type Pod } from "./kinds.ts";

/** A node whose lease is older counts as lost: 40 s in Kubernetes, shorter in a lab. */
const leaseAgeMaxMs = 6_000;

/** Marks nodes that no longer renew their lease, and their Pods, as not ready. The kubelet undoes this itself. */
export async function judgeNodes(client: LabClient, now: Date): Promise<void> {
  const [nodes, leases] = await Promise.all([
    client.list<Node>("v1/nodes"),
    client.list<Lease>("coordination.k8s.io/v1/leases", { namespace: "kube-node-lease" }),
  ]);
  for (const node of nodes) {
    if (conditionOf(node, "Ready") !== "True") continue;
    const lease = leases.find(({ metadata }) => metadata.name === node.metadata.name);
    const renewed = Date.parse(lease?.spec.renewTime ?? node.metadata.creationTimestamp);
    if (now.getTime() - renewed > leaseAgeMaxMs) await markLost(client, node, now);
  }
}

async function markLost(client: LabClient, node: Node, now: Date): Promise<void> {
  const { name } = node.metadata;
  const at = apiTime(now);
  const ready = {
    type: "Ready",
    status: "Unknown",
    reason: "NodeStatusUnknown",
    message: "Kubelet stopped posting node status.",
    lastTransitionTime: at,
  };
  const others = node.status?.conditions?.filter(({ type }) => type !== "Ready") ?? [];
  await client.patch("v1/nodes", { name }, { status: { conditions: [...others, ready] } }, { subresource: "status" });
  const pods = await client.list<Pod>("v1/pods", { fieldSelector: `spec.nodeName=${name}` });
  for (const pod of pods) {
    if (conditionOf(pod, "Ready") !== "True") continue;
    const conditions = pod.status?.conditions?.map((one) =>
      one.type === "Ready" ? { ...one, status: "False", reason: "NodeNotReady", lastTransitionTime: at } : one,
    );
    const { namespace = "default", name: podName } = pod.metadata;
    await client.patch("v1/pods", { namespace, name: podName }, { status: { conditions } }, { subresource: "status" });
  }
}
