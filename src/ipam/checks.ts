import type { LabelSelector } from "#api";
import { type Family, formatIp, formatPrefix, type Ip, prefixContains } from "#ip";
import type { Annotations } from "./annotation-json.ts";
import { applicationLabels, type OwnerFacts } from "./auto-pools.ts";
import { type NamespaceFacts, outOfScope } from "./namespace-scope.ts";
import type { PoolView } from "./pool.ts";
import { formatLabelsFor, formatSelector, type Labels, matchSelector } from "./selector.ts";

/** The parts of the NIC's Pod that checks read. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations: Annotations;
  readonly nodeName: string;
}

/** What checks of a pool look at, beside the pool itself. */
export interface FilterFacts {
  readonly nic: string;
  readonly family: Family;
  readonly pod: PodFacts;
  readonly namespace: NamespaceFacts;
  readonly node: { readonly name: string; readonly labels: Labels };
  /** Undefined for a bare Pod. */
  readonly owner: OwnerFacts | undefined;
  /** The NIC's NetworkAttachmentDefinition as `namespace/name`; undefined if it has none. */
  readonly netAttachDef: string | undefined;
  /** The namespace of names in `multusName` that have none. */
  readonly agentNamespace: string;
  /** Whether only pools may be used that say which namespaces they are for. */
  readonly strict: boolean;
  /** With `match_master_subnet`, the addresses of the host interface under the NIC. If undefined, they are not checked. */
  readonly masterAddresses: readonly Ip[] | undefined;
}

type CheckId =
  | "terminating"
  | "disabled"
  | "family"
  | "nodeName"
  | "nodeAffinity"
  | "scope"
  | "namespaceName"
  | "namespaceAffinity"
  | "podAffinity"
  | "multusName"
  | "masterSubnet";

/** Why a pool may not be used: the first check that it fails, what would pass, and what was found. */
export interface Rejection {
  readonly pool: string;
  readonly accepted: false;
  readonly check: CheckId;
  readonly expected: string;
  readonly found: string;
}

/** The outcome of the checks for one pool. Events and `explain` show it. */
export type Verdict = { readonly pool: string; readonly accepted: true } | Rejection;

interface Check {
  readonly id: CheckId;
  /** Undefined if the pool passes or the check does not concern it. */
  readonly rejects: (
    pool: PoolView,
    facts: FilterFacts,
  ) => { readonly expected: string; readonly found: string } | undefined;
  readonly reason: (rejection: Rejection) => string;
  /** What the user can do. */
  readonly fix: string;
}

/** The checks in their order. The first one that rejects a pool is reported. */
export const checks: readonly Check[] = [
  {
    id: "terminating",
    rejects: ({ terminating }) =>
      terminating ? { expected: "no deletionTimestamp", found: "it is being deleted" } : undefined,
    reason: ({ pool }) => `terminating IPPool ${pool}`,
    fix: "name another IPPool, or create this one anew when it is gone",
  },
  {
    id: "disabled",
    rejects: ({ disable }) => (disable ? { expected: "spec.disable false", found: "spec.disable true" } : undefined),
    reason: ({ pool }) => `disabled IPPool ${pool}`,
    fix: "set spec.disable of the IPPool to false, or name another",
  },
  {
    id: "family",
    rejects: (pool, { family }) =>
      pool.family === family ? undefined : { expected: `IPv${family}`, found: `IPv${pool.family}` },
    reason: ({ pool, expected, found }) =>
      `expect an ${expected} IPPool, but the version of the IPPool ${pool} is ${found}`,
    fix: "list the IPPool under its own family",
  },
  {
    id: "nodeName",
    rejects: ({ nodeName }, { node }) => notAmong(nodeName, node.name),
    reason: unmatched("Node name"),
    fix: "add the node to spec.nodeName of the IPPool, or let the Pod run on a node that is listed",
  },
  {
    id: "nodeAffinity",
    rejects: ({ nodeName, nodeAffinity }, { node }) =>
      nodeName.length > 0 ? undefined : unselected(nodeAffinity, node.labels),
    reason: unmatched("Node affinity"),
    fix: "change spec.nodeAffinity of the IPPool or the labels of the node",
  },
  {
    id: "scope",
    rejects: rejectsNamespace("scope"),
    reason: ({ pool, expected, found }) =>
      `IPPool ${pool} is for no namespace, and enableStrictIPPoolScope is on: expected ${expected}, found ${found}`,
    fix: "add the namespace to spec.namespaceName of the IPPool",
  },
  {
    id: "namespaceName",
    rejects: rejectsNamespace("namespaceName"),
    reason: unmatched("Namespace name"),
    fix: "add the namespace to spec.namespaceName of the IPPool, or name another IPPool",
  },
  {
    id: "namespaceAffinity",
    rejects: rejectsNamespace("namespaceAffinity"),
    reason: unmatched("Namespace affinity"),
    fix: "change spec.namespaceAffinity of the IPPool or the labels of the namespace",
  },
  {
    id: "podAffinity",
    rejects: ({ podAffinity, auto }, { pod, owner }) =>
      unselected(podAffinity, auto ? applicationLabels(owner) : pod.labels),
    reason: unmatched("Pod affinity"),
    fix: "change spec.podAffinity of the IPPool or the labels of the Pod, or name another IPPool",
  },
  {
    id: "multusName",
    rejects: rejectsNetwork,
    reason: ({ pool, expected, found }) =>
      `the spec.multusName [${expected}] of IPPool ${pool} is not matched with the multusCR ${found}`,
    fix: "add the NIC's net-attach-def to spec.multusName of the IPPool, or name another IPPool",
  },
  {
    id: "masterSubnet",
    rejects: (pool, { masterAddresses }) => {
      const unchecked = masterAddresses === undefined || isOwnPool(pool) || pool.multusName.length > 0;
      if (unchecked || masterAddresses.some((ip) => prefixContains(pool.subnet, ip))) return undefined;
      return { expected: formatPrefix(pool.subnet), found: masterAddresses.map(formatIp).join(" ") || "no address" };
    },
    reason: ({ pool, expected, found }) =>
      `filterPoolCandidatesByPfSubnet: no address of the master interface is in the subnet ${expected} of IPPool ${pool}, found ${found}`,
    fix: "give the master interface an address of the IPPool's subnet, or leave match_master_subnet out of the CNI configuration",
  },
];

/** Checks one pool. */
export function judge(pool: PoolView, facts: FilterFacts): Verdict {
  for (const { id, rejects } of checks) {
    const rejection = rejects(pool, facts);
    if (rejection !== undefined) return { pool: pool.name, accepted: false, check: id, ...rejection };
  }
  return { pool: pool.name, accepted: true };
}

/** Every check that the pool fails. */
export function rejectionsOf(pool: PoolView, facts: FilterFacts): readonly Rejection[] {
  return checks.flatMap(({ id, rejects }) => {
    const rejection = rejects(pool, facts);
    return rejection === undefined ? [] : [{ pool: pool.name, accepted: false, check: id, ...rejection }];
  });
}

/** True for an automatic pool of one application. Network and master interface are not checked for it. */
function isOwnPool({ auto, podAffinity }: PoolView): boolean {
  return auto && podAffinity !== undefined;
}

/** The part of the rule about namespaces that one check is about. */
function rejectsNamespace(check: "scope" | "namespaceName" | "namespaceAffinity"): Check["rejects"] {
  return (pool, { namespace, strict }) => {
    const rejection = outOfScope(pool, namespace, { strict: strict && !isOwnPool(pool) });
    return rejection?.check === check ? rejection : undefined;
  };
}

function rejectsNetwork(pool: PoolView, facts: FilterFacts): ReturnType<Check["rejects"]> {
  if (pool.multusName.length === 0 || isOwnPool(pool)) return undefined;
  const names = pool.multusName.map((name) => (name.includes("/") ? name : `${facts.agentNamespace}/${name}`));
  if (facts.netAttachDef !== undefined && names.includes(facts.netAttachDef)) return undefined;
  const found = facts.netAttachDef ?? "(none)";
  return { expected: names.join(" "), found: `${found} of NIC ${facts.nic}` };
}

function notAmong(allowed: readonly string[], name: string): { expected: string; found: string } | undefined {
  return allowed.length === 0 || allowed.includes(name) ? undefined : { expected: allowed.join(" "), found: name };
}

/** Undefined if the selector matches, is empty, or is absent. */
function unselected(
  selector: LabelSelector | undefined,
  labels: Labels,
): { expected: string; found: string } | undefined {
  if (selector === undefined || matchSelector(selector, labels)) return undefined;
  return { expected: formatSelector(selector), found: formatLabelsFor(selector, labels) };
}

function unmatched(what: string): Check["reason"] {
  return ({ pool, expected, found }) => `unmatched ${what} of IPPool ${pool}: expected ${expected}, found ${found}`;
}
