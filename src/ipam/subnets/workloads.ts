import { familyOf, labels, labelValue, type SpiderIPPool, type SpiderSubnet } from "#api";
import {
  cronJobs,
  daemonSets,
  deployments,
  jobs,
  type KubeObject,
  type Resource,
  replicaSets,
  statefulSets,
} from "#kube";
import { outOfScope } from "../namespace-scope.ts";
import type { Labels } from "../selector.ts";
import { type Demand, type Demands, demandsOf, type PodTemplate } from "./demands.ts";
import type { OwnerState } from "./plan.ts";

/** The parts of a workload that are read, of any kind that gets automatic pools. */
export interface WorkloadObject extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly completions?: number;
    readonly parallelism?: number;
    readonly template?: PodTemplate;
    readonly jobTemplate?: { readonly spec?: WorkloadObject["spec"] };
  };
  readonly status?: { readonly desiredNumberScheduled?: number };
}

/** One kind of workload. */
export interface WorkloadKind {
  readonly resource: Resource<KubeObject>;
  readonly template: (workload: WorkloadObject) => PodTemplate | undefined;
  /** How many Pods it has at a time. */
  readonly replicas: (workload: WorkloadObject) => number;
  /** The kind of owner that makes a workload a part of the owner's application. */
  readonly partOf?: string;
}

const template = ({ spec }: WorkloadObject) => spec?.template;
const scaled = { template, replicas: ({ spec }: WorkloadObject) => spec?.replicas ?? 0 };
const podsOfJob = ({ completions, parallelism = 1 }: NonNullable<WorkloadObject["spec"]> = {}) =>
  (completions ?? parallelism) || 1;

/** The kinds of workloads that get automatic pools. */
export const workloadKinds: readonly WorkloadKind[] = [
  { resource: deployments, ...scaled },
  { resource: replicaSets, ...scaled, partOf: "Deployment" },
  { resource: statefulSets, ...scaled },
  { resource: daemonSets, template, replicas: ({ status }) => status?.desiredNumberScheduled ?? 0 },
  { resource: jobs, template, replicas: ({ spec }) => podsOfJob(spec), partOf: "CronJob" },
  {
    resource: cronJobs,
    template: ({ spec }) => spec?.jobTemplate?.spec?.template,
    replicas: ({ spec }) => podsOfJob(spec?.jobTemplate?.spec),
  },
];

/** The kind of that group, version and name; undefined if it gets no automatic pools. */
export function workloadKindOf(o: {
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
}): WorkloadKind | undefined {
  return workloadKinds.find(
    ({ resource: r }) => r.group === o.apiGroup && r.version === o.apiVersion && r.kind === o.kind,
  );
}

/** True for a ReplicaSet of a Deployment and a Job of a CronJob. The owner's demands count for it. */
function isPartOfApplication({ partOf }: WorkloadKind, { metadata }: KubeObject): boolean {
  return metadata.ownerReferences?.some(({ controller, kind }) => controller === true && kind === partOf) ?? false;
}

/** What a workload asks for; undefined if nothing. `redundant` is how many addresses it gets beyond its replicas by default. */
export function demandsOfWorkload(
  kind: WorkloadKind,
  workload: WorkloadObject,
  redundant: number,
): Demands | undefined {
  if (isPartOfApplication(kind, workload)) return undefined;
  const { group: apiGroup, version: apiVersion, kind: name } = kind.resource;
  const facts = { apiGroup, apiVersion, kind: name, metadata: workload.metadata, redundant };
  return demandsOf({ ...facts, template: kind.template(workload), replicas: kind.replicas(workload) });
}

/**
 * Why a subnet can never meet a demand; undefined if it can when it has enough addresses. The rule about namespaces is that of
 * pools, including `enableStrictIPPoolScope`.
 */
export function unusableFor(
  subnet: SpiderSubnet | undefined,
  { owner }: { readonly owner: Pick<Demand["owner"], "namespace" | "family"> },
  {
    enableStrictIPPoolScope,
    namespaceLabels,
  }: {
    readonly enableStrictIPPoolScope: boolean;
    /** The labels of the application's namespace. */
    readonly namespaceLabels: Labels;
  },
): string | undefined {
  if (subnet === undefined) return "does not exist; create it, or name another one";
  if (subnet.metadata.deletionTimestamp !== undefined) return "is being deleted; name another one";
  const { namespace } = owner;
  const facts = { name: namespace, labels: namespaceLabels };
  const rejection = outOfScope(subnet.spec, facts, { strict: enableStrictIPPoolScope });
  switch (rejection?.check) {
    case "scope":
      return `is for no namespace, and enableStrictIPPoolScope is on; add ${namespace} to its spec.namespaceName`;
    case "namespaceName": {
      const names = subnet.spec.namespaceName?.join(", ");
      return `is for namespace ${names}; add ${namespace} to its spec.namespaceName, or name another one`;
    }
    case "namespaceAffinity":
      return `is for namespaces with ${rejection.expected}, and ${namespace} has ${rejection.found}; label the namespace, change spec.namespaceAffinity of the subnet, or name another one`;
    default: {
      const family = familyOf(subnet.spec.subnet);
      return family === owner.family ? undefined : `is of IPv${family}; name it under ipv${family}`;
    }
  }
}

/** The state of an automatic pool's application. `demandsOfUid` finds the demands of an existing workload by its UID. */
export function ownerStateOf(
  { metadata, spec }: SpiderIPPool,
  demandsOfUid: (uid: string) => { readonly demands?: Demands | undefined } | undefined,
): OwnerState {
  const { labels: found = {} } = metadata;
  const [apiGroup = "", apiVersion = ""] = (found[labels.ownerApplicationGv] ?? "").split("_");
  const kind = found[labels.ownerApplicationKind] ?? "";
  if (workloadKindOf({ apiGroup, apiVersion, kind }) === undefined) return "unknown";
  const workload = demandsOfUid(found[labels.ownerApplicationUid] ?? "");
  if (workload === undefined) return "gone";
  const { demands } = workload;
  const hasOther =
    demands?.kind === "wanted" &&
    demands.list.some(
      ({ owner }) => labelValue(owner.nic) === found[labels.interface] && owner.family === familyOf(spec.subnet),
    );
  return hasOther ? "elsewhere" : "lives";
}
