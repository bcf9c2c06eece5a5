import { effectiveSet, parseControlledIPPools, type SpiderSubnet, trySetOf } from "#api";
import { type Family, IpSet } from "#ip";
import {
  autoPoolName,
  type Decision,
  demandsOfWorkload,
  outOfScope,
  parseSubnetAnnotations,
  unusableFor,
  workloadKindOf,
} from "#ipam";
import type { Facts } from "./facts.ts";
import { type Fix, labelFix, patchCommand } from "./fix.ts";

/** A pool of the Pod's application that the controller has yet to make. */
export interface PendingPool {
  readonly family: Family;
  /** The name that it will get. Of an application that does not exist yet, which has no UID, only the beginning is known. */
  readonly name: string;
  readonly subnet: string;
  /** The number of its addresses; undefined if the workload is not known. */
  readonly size: number | undefined;
  /** Why the subnet cannot give the addresses, and what to do, as a predicate ("has 3 addresses left, …"); undefined: it can. */
  readonly why: string | undefined;
}

/** The pools that the controller has yet to make for the NIC; none if the NIC does not wait for any. */
export function pendingPools(facts: Facts, nic: string, decisions: readonly Decision[]): readonly PendingPool[] {
  const { owner, installation } = facts;
  const isPending = ({ outcome }: Decision) => outcome.kind === "refused" && outcome.code === "AUTO_POOL_PENDING";
  const subnets = decisions.some(isPending) ? subnetsOf(facts, nic) : undefined;
  if (owner === undefined || subnets === undefined) return [];
  return installation.families.flatMap((family): readonly PendingPool[] => {
    const subnet = subnets[family];
    if (subnet === undefined) return [];
    const size = sizeOf(facts, nic, family);
    const name = `${autoPoolName({ ...owner, nic, family })}${owner.uid === "" ? "…" : ""}`;
    return [{ family, name, subnet, size, why: whyNot(facts, { subnet, family, size }) }];
  });
}

/** Permits the Pod's namespace to use the SpiderSubnets that the NIC names, if it may not yet. */
export function subnetFixes(facts: Facts, nic: string): readonly Fix[] {
  const { pod, subnets, namespace, installation } = facts;
  const named = subnetsOf(facts, nic);
  const found = installation.families.flatMap((family) => subnets.get(named?.[family] ?? "") ?? []);
  return found.flatMap(({ metadata: { name }, spec }): Fix | readonly Fix[] => {
    const asked = { name: pod.namespace, labels: namespace?.metadata.labels ?? {} };
    const strict = installation.settings.enableStrictIPPoolScope;
    const rejection = outOfScope(spec, asked, { strict });
    if (rejection === undefined) return [];
    if (rejection.check === "namespaceAffinity") {
      return labelFix(["namespace", pod.namespace], spec.namespaceAffinity, `SpiderSubnet ${name}`) ?? [];
    }
    const namespaceName = [...(spec.namespaceName ?? []), pod.namespace];
    const command = patchCommand(["spidersubnet", name], { spec: { namespaceName } });
    return [{ text: `let namespace ${pod.namespace} use SpiderSubnet ${name}`, command }];
  });
}

function subnetsOf({ pod }: Facts, nic: string) {
  return parseSubnetAnnotations(pod.annotations)?.nics.find((one) => one.nic === nic);
}

function sizeOf({ owner, workload, installation }: Facts, nic: string, family: Family): number | undefined {
  const kind = owner && workloadKindOf(owner);
  if (kind === undefined || workload === undefined) return undefined;
  const demands = demandsOfWorkload(kind, workload, installation.settings.redundantIpNumber);
  if (demands?.kind !== "wanted") return undefined;
  const size = demands.list.find((one) => one.owner.nic === nic && one.owner.family === family)?.size;
  // `replicas` of a manifest was not validated.
  return Number.isSafeInteger(size) ? size : undefined;
}

function whyNot(
  facts: Facts,
  {
    subnet: name,
    family,
    size = 0,
  }: { readonly subnet: string; readonly family: Family; readonly size: number | undefined },
): string | undefined {
  const { subnets, pod, namespace, installation } = facts;
  const subnet = subnets.get(name);
  const unusable = unusableFor(
    subnet,
    { owner: { namespace: pod.namespace, family } },
    { ...installation.settings, namespaceLabels: namespace?.metadata.labels ?? {} },
  );
  if (unusable !== undefined || subnet === undefined) return unusable;
  const left = freeOf(facts, subnet, family).size;
  if (left >= BigInt(size)) return undefined;
  return `has ${left} addresses left, and the application needs ${size}; add addresses to its spec.ips, or ask for fewer`;
}

/** The subnet's addresses that no pool has and nothing reserves. */
function freeOf({ reserved }: Facts, { spec, status }: SpiderSubnet, family: Family): IpSet {
  const given = Object.values(parseControlledIPPools(status?.controlledIPPools) ?? {});
  return given.reduce(
    (left, { ips }) => left.subtract(trySetOf(ips, family) ?? IpSet.empty(family)),
    (effectiveSet(spec, family) ?? IpSet.empty(family)).subtract(reserved(family)),
  );
}
