import { formatError } from "#base";
import { builtinColumns } from "./columns.ts";
import { customResources, establishedStatus } from "./crds.ts";
import type { FieldError } from "./failure.ts";
import { ensure, type Resource } from "./resource.ts";
import { at, type Fields, fieldsAt, isFields, type KubeObject, listAt, textAt } from "./types.ts";

/** Fills in defaults, in place; may say what is wrong. */
type Prepare = (object: KubeObject, previous: KubeObject | undefined) => readonly FieldError[] | undefined;

interface Kind {
  readonly group?: string;
  readonly kind: string;
  readonly namespaced?: boolean;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly status?: boolean;
  readonly statusAtCreate?: boolean;
  readonly subresources?: Readonly<Record<string, string>>;
  readonly scale?: boolean;
  readonly selectable?: readonly string[];
  readonly prepare?: Prepare;
  readonly required?: readonly string[];
}

/** Which of the built-in kinds exist here, by plural. All are v1. */
const kinds: Readonly<Record<string, Kind>> = {
  namespaces: { kind: "Namespace", shortNames: ["ns"], status: true, selectable: ["status.phase"], prepare: namespace },
  nodes: { kind: "Node", shortNames: ["no"], status: true, statusAtCreate: true, selectable: ["spec.unschedulable"] },
  pods: {
    kind: "Pod",
    namespaced: true,
    shortNames: ["po"],
    categories: ["all"],
    status: true,
    subresources: { binding: "Binding", eviction: "Eviction", exec: "PodExecOptions", log: "Pod" },
    selectable: [
      "spec.nodeName",
      "spec.restartPolicy",
      "spec.schedulerName",
      "spec.serviceAccountName",
      "status.phase",
    ],
    prepare: pod,
    required: ["spec.containers"],
  },
  events: {
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    selectable: [
      ...["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"].map(
        (field) => `involvedObject.${field}`,
      ),
      ...["reason", "reportingComponent", "source", "type"],
    ],
  },
  configmaps: { kind: "ConfigMap", namespaced: true, shortNames: ["cm"] },
  services: {
    kind: "Service",
    namespaced: true,
    shortNames: ["svc"],
    categories: ["all"],
    status: true,
    selectable: ["spec.clusterIP", "spec.type"],
    prepare: service,
  },
  serviceaccounts: { kind: "ServiceAccount", namespaced: true, shortNames: ["sa"] },
  deployments: {
    group: "apps",
    kind: "Deployment",
    namespaced: true,
    shortNames: ["deploy"],
    categories: ["all"],
    status: true,
    scale: true,
    prepare: deployment,
    required: ["spec.selector", "spec.template"],
  },
  replicasets: {
    group: "apps",
    kind: "ReplicaSet",
    namespaced: true,
    shortNames: ["rs"],
    categories: ["all"],
    status: true,
    scale: true,
    selectable: ["status.replicas"],
    prepare: replicaSet,
    required: ["spec.selector"],
  },
  leases: { group: "coordination.k8s.io", kind: "Lease", namespaced: true },
  customresourcedefinitions: {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    status: true,
    prepare: definition,
    required: ["spec.group", "spec.names", "spec.versions"],
  },
};

/** The finalizer that keeps a definition until its objects are gone. */
export const crdFinalizer = "customresourcecleanup.apiextensions.k8s.io";

/** The resources that exist without any CRD. */
export const builtinResources: readonly Resource[] = Object.entries(kinds).map(([plural, kind]) => {
  const { group = "", status = false, prepare, required = [] } = kind;
  const main = { ...(status ? { status: kind.kind } : {}), ...(kind.scale === true ? { scale: "Scale" } : {}) };
  return {
    group,
    version: "v1",
    plural,
    singular: kind.kind.toLowerCase(),
    kind: kind.kind,
    namespaced: kind.namespaced ?? false,
    shortNames: kind.shortNames ?? [],
    categories: kind.categories ?? [],
    table: `${group}/${plural}`,
    custom: false,
    status,
    statusAtCreate: kind.statusAtCreate ?? false,
    subresources: { ...main, ...kind.subresources },
    scale:
      kind.scale === true
        ? { specReplicas: "spec.replicas", statusReplicas: "status.replicas", selector: "spec.selector" }
        : undefined,
    generation: status,
    selectable: kind.selectable ?? [],
    columns: builtinColumns[plural] ?? [],
    admit: (object, previous) => {
      const absent = missing(object, required);
      return { unknown: [], errors: absent.length > 0 ? absent : (prepare?.(object, previous) ?? []) };
    },
  };
});

function missing(object: KubeObject, required: readonly string[]): FieldError[] {
  return required
    .filter((field) => at(object, ...field.split(".")) === undefined)
    .map((field) => ({ field, reason: "FieldValueRequired", message: "Required value" }));
}

function setDefaults(fields: Fields, defaults: Readonly<Fields>): void {
  for (const [name, value] of Object.entries(defaults)) fields[name] ??= value;
}

/** `spec.finalizers` is what keeps a deleted namespace until its content is gone. */
function namespace(object: KubeObject, previous: KubeObject | undefined): undefined {
  if (previous === undefined) {
    object["spec"] = { finalizers: ["kubernetes"] };
    object["status"] = { phase: "Active" };
  }
  object.metadata.labels = { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name };
}

function pod(object: KubeObject, previous: KubeObject | undefined): undefined {
  podDefaults(ensure(object, "spec"));
  if (previous === undefined) object["status"] = { phase: "Pending", qosClass: qosClass(object) };
}

function podDefaults(spec: Fields): void {
  setDefaults(spec, {
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    serviceAccountName: "default",
    securityContext: {},
  });
  for (const container of [...listAt(spec, "initContainers"), ...listAt(spec, "containers")].filter(isFields)) {
    const latest = /(:latest|^[^:]*)$/.test(textAt(container, "image").split("/").at(-1) ?? "");
    setDefaults(container, { imagePullPolicy: latest ? "Always" : "IfNotPresent", resources: {} });
    for (const port of listAt(container, "ports").filter(isFields)) setDefaults(port, { protocol: "TCP" });
    // A request that is not given is the limit: extended resources are always written as limits.
    const { limits } = fieldsAt(container, "resources");
    if (isFields(limits)) setDefaults(ensure(ensure(container, "resources"), "requests"), limits);
  }
}

function qosClass(object: KubeObject): string {
  const resources = listAt(object, "spec", "containers").map((container) => fieldsAt(container, "resources"));
  const has = (side: string) => (found: object) =>
    ["cpu", "memory"].some((name) => at(found, side, name) !== undefined);
  if (!resources.some((found) => has("requests")(found) || has("limits")(found))) return "BestEffort";
  const equal = (found: object, name: string) =>
    at(found, "limits", name) !== undefined && at(found, "limits", name) === at(found, "requests", name);
  return resources.every((found) => equal(found, "cpu") && equal(found, "memory")) ? "Guaranteed" : "Burstable";
}

function deployment(object: KubeObject): readonly FieldError[] {
  const spec = ensure(object, "spec");
  setDefaults(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {} });
  const strategy = ensure(spec, "strategy");
  setDefaults(strategy, { type: "RollingUpdate" });
  if (strategy["type"] === "RollingUpdate") {
    setDefaults(ensure(strategy, "rollingUpdate"), { maxSurge: "25%", maxUnavailable: "25%" });
  }
  if (isFields(spec["template"])) podDefaults(ensure(ensure(spec, "template"), "spec"));
  return selectorErrors(object);
}

function replicaSet(object: KubeObject): readonly FieldError[] {
  const spec = ensure(object, "spec");
  setDefaults(spec, { replicas: 1 });
  if (isFields(spec["template"])) podDefaults(ensure(ensure(spec, "template"), "spec"));
  return selectorErrors(object);
}

/** A workload whose selector misses its own Pods would make new ones for ever. */
function selectorErrors(object: KubeObject): readonly FieldError[] {
  const labels = fieldsAt(object, "spec", "template", "metadata", "labels");
  const wanted = Object.entries(fieldsAt(object, "spec", "selector", "matchLabels"));
  if (wanted.every(([key, value]) => labels[key] === value)) return [];
  const message = `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``;
  return [{ field: "spec.template.metadata.labels", reason: "FieldValueInvalid", message }];
}

/** No cluster IP is given out: nothing in the lab routes one. */
function service(object: KubeObject): undefined {
  const spec = ensure(object, "spec");
  setDefaults(spec, { type: "ClusterIP", clusterIP: "None", sessionAffinity: "None" });
  for (const port of listAt(spec, "ports").filter(isFields)) {
    setDefaults(port, { protocol: "TCP", targetPort: port["port"] });
  }
}

function definition(object: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  if (previous === undefined) object.metadata.finalizers = [...(object.metadata.finalizers ?? []), crdFinalizer];
  const names = ensure(ensure(object, "spec"), "names");
  const kind = textAt(names, "kind");
  setDefaults(names, { singular: kind.toLowerCase(), listKind: `${kind}List` });
  setDefaults(ensure(object, "spec"), { conversion: { strategy: "None" } });
  object["status"] = establishedStatus(object, object.metadata.creationTimestamp);
  try {
    customResources(object);
    return [];
  } catch (error) {
    const message = `Invalid value: ${formatError(error)}`;
    return [{ field: "spec", reason: "FieldValueInvalid", message }];
  }
}
