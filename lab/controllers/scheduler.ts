import { isStatus, type LabClient } from "../api/index.ts";
import { recordEvent } from "./events.ts";
import { isActive, type Node, type Pod } from "./kinds.ts";
import { place } from "./placement.ts";

/**
 * One round of scheduling: every Pod without a node, oldest first, each with those before it already placed. Reads everything
 * again, so that a round depends on nothing but the API.
 */
export async function scheduleAll(client: LabClient): Promise<void> {
  const [nodes, pods] = await Promise.all([client.list<Node>("v1/nodes"), client.list<Pod>("v1/pods")]);
  const waiting = pods
    .filter((pod) => pod.spec.nodeName === undefined && pod.metadata.deletionTimestamp === undefined && isActive(pod))
    .sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp));
  const placed = [...pods];
  for (const pod of waiting) {
    const placement = place(pod, nodes, placed);
    if (placement.kind === "none") await refuse(client, pod, placement.why);
    else if (await bind(client, pod, placement.name))
      placed.push({ ...pod, spec: { ...pod.spec, nodeName: placement.name } });
  }
}

/** False if the Pod is gone or somebody else has bound it. */
async function bind(client: LabClient, pod: Pod, node: string): Promise<boolean> {
  const { name, namespace = "default", uid } = pod.metadata;
  const body = {
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name, namespace, uid },
    target: { apiVersion: "v1", kind: "Node", name: node },
  };
  try {
    await client.act("v1/pods", { name, namespace }, "binding", body);
  } catch (error) {
    if (isStatus(error, 404) || isStatus(error, 409)) return false;
    throw error;
  }
  await recordEvent(client, subject(pod), {
    type: "Normal",
    reason: "Scheduled",
    message: `Successfully assigned ${namespace}/${name} to ${node}`,
    component: "default-scheduler",
  });
  return true;
}

async function refuse(client: LabClient, pod: Pod, why: string): Promise<void> {
  const known = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (known?.message === why) return;
  const { name, namespace = "default" } = pod.metadata;
  const others = pod.status?.conditions?.filter(({ type }) => type !== "PodScheduled") ?? [];
  const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message: why };
  try {
    await client.patch(
      "v1/pods",
      { name, namespace },
      { status: { conditions: [...others, condition] } },
      { subresource: "status" },
    );
  } catch (error) {
    if (isStatus(error, 404)) return;
    throw error;
  }
  await recordEvent(client, subject(pod), {
    type: "Warning",
    reason: "FailedScheduling",
    message: why,
    component: "default-scheduler",
  });
}

function subject(pod: Pod) {
  return { apiVersion: "v1", kind: "Pod", metadata: pod.metadata };
}
