import type { Column } from "../resource.ts";
import { formatLabels } from "../selectors.ts";
import { at, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "../types.ts";
import { ageOf } from "./age.ts";

type Cell = Column["cell"];
type Cells = Readonly<Record<string, Cell>>;

const none = "<none>";
const age: Cell = (object, nowMs) => ageOf(object, nowMs);
const ofContainers = (field: string) => (object: KubeObject) =>
  listAt(object, "spec", "template", "spec", "containers")
    .map((container) => textAt(container, field))
    .join(",");

/** Columns of one kind: the `normal` ones, and those for `-o wide`. NAME is added as the first one. */
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
  Containers: ofContainers("name"),
  Images: ofContainers("image"),
  Selector: (object) => formatLabels(fieldsAt(object, "spec", "selector", "matchLabels")),
};

/** The columns of the built-in kinds, by plural, as kube-apiserver prints them. */
export const builtinColumns: Readonly<Record<string, readonly Column[]>> = {
  pods: columns(
    { Ready: podReady, Status: podStatus, Restarts: podRestarts, Age: age },
    {
      IP: (pod) => textAt(pod, "status", "podIP") || none,
      Node: (pod) => textAt(pod, "spec", "nodeName") || none,
      "Nominated Node": () => none,
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
  statefulsets: columns({
    Ready: (object) => `${numberAt(object, "status", "readyReplicas")}/${numberAt(object, "spec", "replicas")}`,
    Age: age,
  }),
  daemonsets: columns({
    Desired: (object) => numberAt(object, "status", "desiredNumberScheduled"),
    Current: (object) => numberAt(object, "status", "currentNumberScheduled"),
    Ready: (object) => numberAt(object, "status", "numberReady"),
    Age: age,
  }),
  jobs: columns({
    Status: (job) => listAt(job, "status", "conditions").map((condition) => textAt(condition, "type"))[0] ?? "Running",
    Completions: (job) => `${numberAt(job, "status", "succeeded")}/${numberAt(job, "spec", "completions")}`,
    Age: age,
  }),
  nodes: columns(
    {
      Status: nodeStatus,
      Roles: () => none,
      Age: age,
      Version: (node) => textAt(node, "status", "nodeInfo", "kubeletVersion"),
    },
    {
      "Internal-IP": nodeAddress,
      "OS-Image": (node) => textAt(node, "status", "nodeInfo", "osImage"),
      "Container-Runtime": (node) => textAt(node, "status", "nodeInfo", "containerRuntimeVersion"),
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
      Source: (event) => textAt(event, "source", "component") || textAt(event, "reportingComponent"),
      Count: (event) => String(numberAt(event, "count") || 1),
    },
  ),
  configmaps: columns({ Data: (object) => Object.keys(fieldsAt(object, "data")).length, Age: age }),
  secrets: columns({
    Type: (object) => textAt(object, "type"),
    Data: (object) => Object.keys(fieldsAt(object, "data")).length,
    Age: age,
  }),
  leases: columns({ Holder: (object) => textAt(object, "spec", "holderIdentity"), Age: age }),
  customresourcedefinitions: columns({ "Created At": (object) => object.metadata.creationTimestamp }),
};

function podReady(pod: KubeObject): string {
  const ready = listAt(pod, "status", "containerStatuses").filter((status) => at(status, "ready") === true);
  return `${ready.length}/${listAt(pod, "spec", "containers").length}`;
}

/** A Pod's status in one word: that it is being deleted, why a container waits or has ended, or the phase. */
function podStatus(pod: KubeObject): string {
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  const reasons = listAt(pod, "status", "containerStatuses").map(stateReason);
  return reasons.find((reason) => reason !== undefined) ?? textAt(pod, "status", "phase");
}

function stateReason(status: unknown): string | undefined {
  return textAt(status, "state", "waiting", "reason") || textAt(status, "state", "terminated", "reason") || undefined;
}

function podRestarts(pod: KubeObject): number {
  const statuses = listAt(pod, "status", "containerStatuses");
  return statuses.reduce<number>((sum, status) => sum + numberAt(status, "restartCount"), 0);
}

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node, "status", "conditions").find((condition) => at(condition, "type") === "Ready");
  const word = ready === undefined ? "Unknown" : at(ready, "status") === "True" ? "Ready" : "NotReady";
  return at(node, "spec", "unschedulable") === true ? `${word},SchedulingDisabled` : word;
}

function nodeAddress(node: KubeObject): string {
  const found = listAt(node, "status", "addresses").find((address) => at(address, "type") === "InternalIP");
  return textAt(found, "address") || none;
}
