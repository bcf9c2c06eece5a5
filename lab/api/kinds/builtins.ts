import { formatError } from "#base";
import type { FieldError } from "../failure.ts";
import { builtinColumns } from "../printing/columns.ts";
import { ensure, type Resource } from "../resource.ts";
import { at, type Fields, fieldsAt, isFields, type KubeObject, textAt } from "../types.ts";
import { customResources, establishedStatus } from "./crds.ts";
import { canonicalQuantity } from "./quantity.ts";

/** Fills in defaults, in place. May return what is wrong. */
type Prepare = (object: KubeObject, previous: KubeObject | undefined) => readonly FieldError[];

interface Kind
  extends Partial<Pick<Resource, "group" | "shortNames" | "categories" | "subresources" | "selectable" | "warning">> {
  readonly kind: string;
  readonly namespaced: boolean;
  readonly prepare?: Prepare;
  readonly required?: readonly string[];
}

/** The built-in kinds that exist here, by plural. All are v1. */
const kinds: Readonly<Record<string, Kind>> = {
  namespaces: {
    kind: "Namespace",
    namespaced: false,
    shortNames: ["ns"],
    subresources: ["status"],
    prepare: namespace,
  },
  nodes: { kind: "Node", namespaced: false, shortNames: ["no"], subresources: ["status"], prepare: node },
  pods: {
    kind: "Pod",
    namespaced: true,
    shortNames: ["po"],
    categories: ["all"],
    subresources: ["status", "binding", "exec", "log"],
    selectable: ["spec.nodeName", "status.phase"],
    prepare: pod,
    required: ["spec.containers"],
  },
  events: {
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    selectable: [
      ...["apiVersion", "kind", "name", "namespace", "uid"].map((field) => `involvedObject.${field}`),
      ...["reason", "type"],
    ],
  },
  configmaps: { kind: "ConfigMap", namespaced: true, shortNames: ["cm"] },
  secrets: { kind: "Secret", namespaced: true },
  deployments: {
    group: "apps",
    kind: "Deployment",
    namespaced: true,
    shortNames: ["deploy"],
    categories: ["all"],
    subresources: ["status", "scale"],
    prepare: workload,
    required: ["spec.selector", "spec.template"],
  },
  replicasets: {
    group: "apps",
    kind: "ReplicaSet",
    namespaced: true,
    shortNames: ["rs"],
    categories: ["all"],
    subresources: ["status", "scale"],
    prepare: workload,
    required: ["spec.selector"],
  },
  statefulsets: {
    group: "apps",
    kind: "StatefulSet",
    namespaced: true,
    shortNames: ["sts"],
    categories: ["all"],
    subresources: ["status", "scale"],
    prepare: statefulSet,
    required: ["spec.selector", "spec.template"],
  },
  daemonsets: {
    group: "apps",
    kind: "DaemonSet",
    namespaced: true,
    shortNames: ["ds"],
    categories: ["all"],
    subresources: ["status"],
    prepare: daemonSet,
    required: ["spec.selector", "spec.template"],
  },
  jobs: {
    group: "batch",
    kind: "Job",
    namespaced: true,
    categories: ["all"],
    subresources: ["status"],
    prepare: job,
    required: ["spec.template"],
  },
  cronjobs: {
    group: "batch",
    kind: "CronJob",
    namespaced: true,
    shortNames: ["cj"],
    categories: ["all"],
    subresources: ["status"],
    required: ["spec.schedule", "spec.jobTemplate"],
    warning:
      "nothing in the lab looks at its schedule: kubectl create job JOB --from=cronjob/NAME --dry-run=client -o yaml | kubectl apply -f - makes a Job",
  },
  leases: { group: "coordination.k8s.io", kind: "Lease", namespaced: true },
  customresourcedefinitions: {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    namespaced: false,
    shortNames: ["crd", "crds"],
    subresources: ["status"],
    prepare: definition,
    required: ["spec.group", "spec.names", "spec.versions"],
  },
};

/** The finalizer that keeps a namespace or a definition until its objects are gone. */
export const contentFinalizer = "lab/content";

/** The resources that exist without any CRD. */
export const builtinResources: readonly Resource[] = Object.entries(kinds).map(
  ([plural, { prepare, required = [], ...kind }]) => {
    const { group = "" } = kind;
    return {
      group,
      version: "v1",
      plural,
      table: `${group}/${plural}`,
      custom: false,
      singular: kind.kind.toLowerCase(),
      shortNames: [],
      categories: [],
      subresources: [],
      selectable: [],
      ...kind,
      columns: builtinColumns[plural] ?? [],
      admit: (object, previous) => {
        const absent = missing(object, required);
        return { unknown: [], errors: absent.length > 0 ? absent : (prepare?.(object, previous) ?? []) };
      },
    };
  },
);

function missing(object: KubeObject, required: readonly string[]): FieldError[] {
  return required
    .filter((field) => at(object, ...field.split(".")) === undefined)
    .map((field) => ({ field, reason: "FieldValueRequired", message: "Required value" }));
}

function setDefaults(fields: Fields, defaults: Readonly<Fields>): void {
  for (const [name, value] of Object.entries(defaults)) fields[name] ??= value;
}

/** The content of a namespace or definition is deleted before the object itself. */
function holdContent({ metadata }: KubeObject): void {
  if (metadata.deletionTimestamp !== undefined) return;
  metadata.finalizers = [...new Set([...(metadata.finalizers ?? []), contentFinalizer])];
}

function namespace(object: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  holdContent(object);
  if (previous === undefined) object["status"] = { phase: "Active" };
  object.metadata.labels = { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name };
  return [];
}

/** Amounts are stored in one spelling: `1000` as `1k`. */
function node(object: KubeObject): readonly FieldError[] {
  const status = fieldsAt(object, "status");
  const spelled = (amounts: Readonly<Fields>) =>
    Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, canonicalQuantity(String(amount))]));
  const { capacity, allocatable } = status;
  object["status"] = {
    ...status,
    ...(isFields(capacity) && { capacity: spelled(capacity) }),
    ...(isFields(allocatable) && { allocatable: spelled(allocatable) }),
  };
  return [];
}

function pod(object: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  setDefaults(ensure(object, "spec"), { restartPolicy: "Always", terminationGracePeriodSeconds: 30 });
  if (previous === undefined) object["status"] = { phase: "Pending" };
  return [];
}

function workload(object: KubeObject): readonly FieldError[] {
  setDefaults(ensure(object, "spec"), { replicas: 1 });
  return selectsOwnPods(object);
}

function statefulSet(object: KubeObject): readonly FieldError[] {
  const defaults = { podManagementPolicy: "OrderedReady", updateStrategy: { type: "RollingUpdate" } };
  setDefaults(ensure(object, "spec"), defaults);
  return workload(object);
}

function daemonSet(object: KubeObject): readonly FieldError[] {
  setDefaults(ensure(object, "spec"), { updateStrategy: { type: "RollingUpdate" } });
  return selectsOwnPods(object);
}

/** As the API server has it: both counts default to 1, unless only `parallelism` is given. */
function job(object: KubeObject): readonly FieldError[] {
  const spec = ensure(object, "spec");
  if (spec["parallelism"] === undefined) setDefaults(spec, { completions: 1 });
  setDefaults(spec, { parallelism: 1, backoffLimit: 6 });
  const policy = textAt(object, "spec", "template", "spec", "restartPolicy");
  if (policy === "Never" || policy === "OnFailure") return [];
  const message = `Required value: valid values: "OnFailure", "Never"`;
  return [{ field: "spec.template.spec.restartPolicy", reason: "FieldValueRequired", message }];
}

/** A workload whose selector does not match its own Pods would create new ones forever. */
function selectsOwnPods(object: KubeObject): readonly FieldError[] {
  const labels = fieldsAt(object, "spec", "template", "metadata", "labels");
  const wanted = Object.entries(fieldsAt(object, "spec", "selector", "matchLabels"));
  if (wanted.every(([key, value]) => labels[key] === value)) return [];
  const message = `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``;
  return [{ field: "spec.template.metadata.labels", reason: "FieldValueInvalid", message }];
}

function definition(object: KubeObject): readonly FieldError[] {
  holdContent(object);
  const names = ensure(ensure(object, "spec"), "names");
  setDefaults(names, { singular: textAt(names, "kind").toLowerCase(), listKind: `${textAt(names, "kind")}List` });
  object["status"] = establishedStatus(object, object.metadata.creationTimestamp);
  try {
    customResources(object);
    return [];
  } catch (error) {
    return [{ field: "spec", reason: "FieldValueInvalid", message: `Invalid value: ${formatError(error)}` }];
  }
}
