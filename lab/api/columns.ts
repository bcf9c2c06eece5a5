import { ageOf } from "./age.ts";
import type { Column } from "./resource.ts";
import { at, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "./types.ts";

type Cell = Column["cell"];
type Cells = Readonly<Record<string, Cell>>;

const none = "<none>";
const age: Cell = (object, nowMs) => ageOf(object, nowMs);
const texts = (list: readonly unknown[], ...path: string[]) =>
  list.map((item) => textAt(item, ...path)).join(",") || none;

/** `normal` columns always, `wide` ones with `-o wide`. The table itself puts NAME first. */
function columns(normal: Cells, wide: Cells = {}): Column[] {
  const column =
    (priority: number) =>
    (entry: [string, Cell]): Column => ({
      name: entry[0],
      type: "string",
      priority,
      cell: entry[1],
    });
  return [...Object.entries(normal).map(column(0)), ...Object.entries(wide).map(column(1))];
}

const withTemplate: Cells = {
  Containers: (object) => texts(listAt(object, "spec", "template", "spec", "containers"), "name"),
  Images: (object) => texts(listAt(object, "spec", "template", "spec", "containers"), "image"),
  Selector: (object) => formatSelector(at(object, "spec", "selector", "matchLabels")),
};

/** The columns of the built-in kinds, by plural, as kube-apiserver prints them. */
export const builtinColumns: Readonly<Record<string, readonly Column[]>> = {
  pods: columns(
    { Ready: podReady, Status: podStatus, Restarts: podRestarts, Age: age },
    {
      IP: (pod) => textAt(pod, "status", "podIP") || none,
      Node: (pod) => textAt(pod, "spec", "nodeName") || none,
      "Nominated Node": (pod) => textAt(pod, "status", "nominatedNodeName") || none,
      "Readiness Gates": () => none,
    },
  ),
  deployments: columns(
    {
      Ready: (object) => `${numberAt(object, "status", "readyReplicas")}/${numberAt(object, "spec", "replicas")}`,
      "Up-to-date": (object) => numberAt(object, "status", "updatedReplicas"),
      Available: (object) => numberAt(object, "status", "availableReplicas"),
      Age: age,
    },
    withTemplate,
  ),
  replicasets: columns(
    {
      Desired: (object) => numberAt(object, "spec", "replicas"),
      Current: (object) => numberAt(object, "status", "replicas"),
      Ready: (object) => numberAt(object, "status", "readyReplicas"),
      Age: age,
    },
    withTemplate,
  ),
  nodes: columns(
    {
      Status: nodeStatus,
      Roles: nodeRoles,
      Age: age,
      Version: (node) => textAt(node, "status", "nodeInfo", "kubeletVersion"),
    },
    {
      "Internal-IP": (node) => nodeAddress(node, "InternalIP"),
      "External-IP": (node) => nodeAddress(node, "ExternalIP"),
      "OS-Image": (node) => textAt(node, "status", "nodeInfo", "osImage") || "<unknown>",
      "Kernel-Version": (node) => textAt(node, "status", "nodeInfo", "kernelVersion") || "<unknown>",
      "Container-Runtime": (node) => textAt(node, "status", "nodeInfo", "containerRuntimeVersion") || "<unknown>",
    },
  ),
  namespaces: columns({ Status: (object) => textAt(object, "status", "phase"), Age: age }),
  events: columns(
    {
      "Last Seen": (event, nowMs) => ageOf(textAt(event, "lastTimestamp") || textAt(event, "eventTime"), nowMs),
      Type: (event) => textAt(event, "type"),
      Reason: (event) => textAt(event, "reason"),
      Object: (event) =>
        `${textAt(event, "involvedObject", "kind").toLowerCase()}/${textAt(event, "involvedObject", "name")}`,
      Message: (event) => textAt(event, "message").trim(),
    },
    {
      Subobject: (event) => textAt(event, "involvedObject", "fieldPath"),
      Source: (event) => textAt(event, "source", "component") || textAt(event, "reportingComponent"),
      "First Seen": (event, nowMs) => ageOf(textAt(event, "firstTimestamp") || textAt(event, "eventTime"), nowMs),
      Count: (event) => String(numberAt(event, "count") || 1),
    },
  ),
  configmaps: columns({
    Data: (object) => Object.keys({ ...fieldsAt(object, "data"), ...fieldsAt(object, "binaryData") }).length,
    Age: age,
  }),
  services: columns(
    {
      Type: (object) => textAt(object, "spec", "type"),
      "Cluster-IP": (object) => textAt(object, "spec", "clusterIP") || none,
      "External-IP": (object) => listAt(object, "spec", "externalIPs").join(",") || none,
      "Port(s)": servicePorts,
      Age: age,
    },
    { Selector: (object) => formatSelector(at(object, "spec", "selector")) },
  ),
  serviceaccounts: columns({ Secrets: (object) => listAt(object, "secrets").length, Age: age }),
  leases: columns({ Holder: (object) => textAt(object, "spec", "holderIdentity"), Age: age }),
  customresourcedefinitions: columns({ "Created At": (object) => object.metadata.creationTimestamp }),
};

function formatSelector(labels: unknown): string {
  const pairs = Object.entries(fieldsAt(labels)).map(([key, value]) => `${key}=${String(value)}`);
  return pairs.sort().join(",") || none;
}

function podReady(pod: KubeObject): string {
  const ready = listAt(pod, "status", "containerStatuses").filter((status) => at(status, "ready") === true);
  return `${ready.length}/${listAt(pod, "spec", "containers").length}`;
}

/** The most telling word: what an init container does, why a container waits or ended, deletion, else the phase. */
function podStatus(pod: KubeObject): string {
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  return initStatus(pod) ?? containerStatus(pod) ?? (textAt(pod, "status", "reason") || textAt(pod, "status", "phase"));
}

function initStatus(pod: KubeObject): string | undefined {
  const total = listAt(pod, "spec", "initContainers").length;
  for (const [index, status] of listAt(pod, "status", "initContainerStatuses").entries()) {
    if (at(status, "state", "terminated", "exitCode") === 0) continue;
    const reason = stateReason(status);
    return reason === undefined || reason === "PodInitializing" ? `Init:${index}/${total}` : `Init:${reason}`;
  }
  return undefined;
}

function containerStatus(pod: KubeObject): string | undefined {
  const statuses = listAt(pod, "status", "containerStatuses");
  const running = statuses.some(
    (status) => at(status, "ready") === true && at(status, "state", "running") !== undefined,
  );
  const reason = statuses.map(stateReason).find((found) => found !== undefined);
  return reason === "Completed" && running ? "Running" : reason;
}

function stateReason(status: unknown): string | undefined {
  const waiting = textAt(status, "state", "waiting", "reason");
  const ended = at(status, "state", "terminated");
  if (waiting !== "" || ended === undefined) return waiting || undefined;
  return textAt(ended, "reason") || `ExitCode:${numberAt(ended, "exitCode")}`;
}

function podRestarts(pod: KubeObject, nowMs: number): string {
  const statuses = listAt(pod, "status", "containerStatuses");
  const total = statuses.reduce<number>((sum, status) => sum + numberAt(status, "restartCount"), 0);
  const last =
    statuses
      .map((status) => textAt(status, "lastState", "terminated", "finishedAt"))
      .sort()
      .at(-1) ?? "";
  return total === 0 || last === "" ? String(total) : `${total} (${ageOf(last, nowMs)} ago)`;
}

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node, "status", "conditions").find((condition) => at(condition, "type") === "Ready");
  const word = ready === undefined ? "Unknown" : at(ready, "status") === "True" ? "Ready" : "NotReady";
  return at(node, "spec", "unschedulable") === true ? `${word},SchedulingDisabled` : word;
}

function nodeRoles(node: KubeObject): string {
  const prefix = "node-role.kubernetes.io/";
  const labels = Object.keys(node.metadata.labels ?? {}).filter((label) => label.startsWith(prefix));
  return (
    labels
      .map((label) => label.slice(prefix.length))
      .sort()
      .join(",") || none
  );
}

function nodeAddress(node: KubeObject, type: string): string {
  const found = listAt(node, "status", "addresses").find((address) => at(address, "type") === type);
  return textAt(found, "address") || none;
}

function servicePorts(service: KubeObject): string {
  const port = (item: unknown) => {
    const nodePort = numberAt(item, "nodePort");
    return `${numberAt(item, "port")}${nodePort === 0 ? "" : `:${nodePort}`}/${textAt(item, "protocol") || "TCP"}`;
  };
  return listAt(service, "spec", "ports").map(port).join(",") || none;
}
