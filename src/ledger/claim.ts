import { labels, labelValue, type SpiderIPAddress, type SpiderIPAddressSpec } from "#api";
import type { PodRef } from "#cni";
import { claimAddress, claimName, type Family, type Ip, IpSet, tryParseClaimName } from "#ip";
import type { PoolParts, PoolView } from "#ipam";

/** Who holds an address: identity is (Pod UID, NIC) and, within it, the sandbox. Names are for people. */
export interface Holder {
  readonly pod: PodRef;
  readonly nic: string;
  readonly containerId: string;
  /** The CNI network's name: the scope of CNI GC. */
  readonly network: string;
  /** `apps/v1/StatefulSet/ns/web` and its UID, where the claim is to tell. */
  readonly owner?: { readonly text: string; readonly uid: string } | undefined;
  /**
   * The address outlives the Pod: the next Pod of the same name gets it (a StatefulSet's), or the next one of the same owner
   * (a virtual machine's). Needs `owner`. Absent: the address goes with the Pod.
   */
  readonly sticky?: "pod" | "owner" | undefined;
}

/** An address that the ledger gave, as of the object's last known version. */
export interface Claim {
  readonly name: string;
  readonly ip: Ip;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly spec: SpiderIPAddressSpec;
}

/** One address of one NIC of one Pod and family: there is never more than one claim for it. */
export function claimKey(podUid: string, nic: string, family: Family): string {
  return `${podUid}.${nic}.${family}`;
}

/** Of a sticky name: one for all Pods that have it one after the other. */
export function keptKey({ pod, nic }: Holder, family: Family): string {
  return `${pod.namespace}/${pod.name} ${nic} ${family}`;
}

/** Decodes the object; undefined for one whose name is no address. */
export function claimOf(object: SpiderIPAddress): Claim | undefined {
  const ip = tryParseClaimName(object.metadata.name);
  if (ip === undefined) return undefined;
  const { name, uid, resourceVersion } = object.metadata;
  return { name, ip, uid, resourceVersion, spec: object.spec };
}

/** The key of the Pod, NIC and family for which the claim was made. */
export function keyOfClaim({ spec, ip }: Pick<Claim, "spec" | "ip">): string {
  return claimKey(spec.podUID ?? "", spec.nic ?? "", ip.family);
}

/** Made for a Pod, in use or kept: not a Hold, a Quarantine or a Lease. */
export function isHeld({ spec }: Pick<Claim, "spec">): boolean {
  return spec.purpose === "Pod" || spec.purpose === "Sticky";
}

/** Why addresses are held while a pool of an application loses them. */
export const shrinkHoldReason = "its pool is made smaller";

/** Why an address is in quarantine that a plugin gave back as one that somebody else has. */
export const foundInUse = "a plugin found it in use";

/** Whether a claim keeps an address from everybody while its pool loses it. */
export function isShrinkHold({ spec }: Pick<Claim, "spec">): boolean {
  return spec.purpose === "Hold" && spec.reason === shrinkHoldReason;
}

/** The claims on addresses of one pool as the planner of its subnet sees them. */
export function partsOf(claims: readonly Claim[], poolUid: string, family: Family): PoolParts {
  const set = (of: readonly Claim[]) =>
    IpSet.ofIps(
      family,
      of.map(({ ip }) => ip),
    );
  return {
    claimed: set(claims.filter((claim) => !isShrinkHold(claim))),
    held: set(claims.filter((claim) => isShrinkHold(claim) && claim.spec.poolUID === poolUid)),
  };
}

/** Held by this Pod for this NIC, whichever sandbox it was made for: two NICs in one pool are two claims. */
export function isMine(spec: SpiderIPAddressSpec, holder: Holder): boolean {
  return isHeld({ spec }) && spec.podUID === holder.pod.uid && spec.nic === holder.nic;
}

/** The claim is kept for Pods like this one: whether it is free to take is another question. */
export function isHeir(spec: SpiderIPAddressSpec, { pod, nic, owner, sticky }: Holder): boolean {
  if (spec.purpose !== "Sticky" || sticky === undefined || owner === undefined) return false;
  if (spec.podNamespace !== pod.namespace || spec.nic !== nic || spec.owner !== owner.text) return false;
  return sticky === "owner" || spec.podName === pod.name;
}

/** The labels of a claim, those that follow from the spec among them. */
export function claimLabels({ pool, node }: Pick<SpiderIPAddressSpec, "pool" | "node">): Record<string, string> {
  return {
    [labels.claimPool]: labelValue(pool),
    [labels.noBackup]: "true",
    ...(node === undefined ? {} : { [labels.claimNode]: labelValue(node) }),
  };
}

/** The sandbox that has the address, as it stands in a claim. */
export function attachment(
  { pod, nic, containerId, network, owner }: Holder,
  { node, bootId }: { readonly node: string; readonly bootId: string },
): Partial<SpiderIPAddressSpec> {
  return {
    node,
    bootID: bootId,
    podNamespace: pod.namespace,
    podName: pod.name,
    podUID: pod.uid,
    nic,
    containerID: containerId,
    network,
    ...(owner === undefined ? {} : { owner: owner.text, ownerUID: owner.uid }),
  };
}

/** Nobody has the address, and it stays kept: only the Pod that had it last is still told. */
export function detached({
  node: _node,
  bootID: _boot,
  containerID: _container,
  ...spec
}: SpiderIPAddressSpec): SpiderIPAddressSpec {
  return spec;
}

/** Somebody else has the address: nobody gets it before `until`. One that is in quarantine already stays as it is. */
export function quarantined(
  spec: SpiderIPAddressSpec,
  { mac, until }: { readonly mac?: string; readonly until: Date },
): SpiderIPAddressSpec {
  if (spec.purpose === "Quarantine") return spec; // a lost answer of ours
  const why = mac === undefined ? { reason: foundInUse } : { mac, reason: "another host answers for it" };
  return { ...detached(spec), purpose: "Quarantine", until: until.toISOString(), ...why };
}

/** What is sent to create a claim. */
export type ClaimDraft = Pick<SpiderIPAddress, "spec"> & {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
};

/** The claim's metadata and spec as they are created. */
export function claimDraft(
  ip: Ip,
  pool: Pick<PoolView, "name" | "uid" | "generation">,
  holder: Holder,
  here: { readonly node: string; readonly bootId: string; readonly since: Date; readonly answer: string },
): ClaimDraft {
  return {
    metadata: { name: claimName(ip), labels: claimLabels({ pool: pool.name, node: here.node }) },
    spec: {
      format: 1,
      address: claimAddress(ip),
      purpose: holder.sticky === undefined ? "Pod" : "Sticky",
      pool: pool.name,
      poolUID: pool.uid,
      poolGeneration: pool.generation,
      ...attachment(holder, here),
      answer: here.answer,
      since: here.since.toISOString(),
    },
  };
}
