import { labels, labelValue, type SpiderIPAddress, type SpiderIPAddressSpec } from "#api";
import type { PodRef } from "#cni";
import { claimAddress, claimName, type Family, type Ip, IpSet, tryParseClaimName } from "#ip";
import type { PoolParts, PoolView } from "#ipam";

/** Who has an address. It is identified by Pod UID and NIC and, within these, by the sandbox. Names are for people. */
export interface Holder {
  readonly pod: PodRef;
  readonly nic: string;
  readonly containerId: string;
  /** The CNI network's name. A CNI GC is about one network. */
  readonly network: string;
  /** The owner to be named in the claim, `apps/v1/StatefulSet/ns/web`, and its UID. */
  readonly owner?: { readonly text: string; readonly uid: string } | undefined;
  /**
   * Who gets the address after the Pod: the next Pod of the same name ("pod", a StatefulSet's) or of the same owner ("owner",
   * a virtual machine's). It needs `owner`. If absent, the address is released with the Pod.
   */
  readonly sticky?: "pod" | "owner" | undefined;
}

/** A claim, in the last known version of its object. */
export interface Claim {
  readonly name: string;
  readonly ip: Ip;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly spec: SpiderIPAddressSpec;
}

/** The key of a claim. A NIC of a Pod never has more than one claim of a family. */
export function claimKey(podUid: string, nic: string, family: Family): string {
  return `${podUid}.${nic}.${family}`;
}

/** The key of a sticky address, which is the same for all Pods that have the name one after the other. */
export function keptKey({ pod, nic }: Holder, family: Family): string {
  return `${pod.namespace}/${pod.name} ${nic} ${family}`;
}

/** Decodes a SpiderIPAddress; undefined if its name is no address. */
export function claimOf(object: SpiderIPAddress): Claim | undefined {
  const ip = tryParseClaimName(object.metadata.name);
  if (ip === undefined) return undefined;
  const { name, uid, resourceVersion } = object.metadata;
  return { name, ip, uid, resourceVersion, spec: object.spec };
}

/** The {@link claimKey} of a claim. */
export function keyOfClaim({ spec, ip }: Pick<Claim, "spec" | "ip">): string {
  return claimKey(spec.podUID ?? "", spec.nic ?? "", ip.family);
}

/** True for a claim that was made for a Pod, in use or kept; false for a Hold, a Quarantine and a Lease. */
export function isHeld({ spec }: Pick<Claim, "spec">): boolean {
  return spec.purpose === "Pod" || spec.purpose === "Sticky";
}

/** Who uses the claim's address, for a refusal to take it out of its pool; undefined if it is on hold or in quarantine. */
export function userOf({ ip, spec }: Claim): { readonly ip: Ip; readonly pod: string } | undefined {
  const { purpose, podNamespace, podName } = spec;
  if (purpose === "Hold" || purpose === "Quarantine") return undefined;
  return { ip, pod: podName === undefined ? purpose : `${podNamespace}/${podName}` };
}

/** True for a sticky claim that no sandbox has. */
export function isDetached(claim: Claim): boolean {
  return isHeld(claim) && claim.spec.node === undefined;
}

/** The reason of holds on addresses that an application's pool loses. */
export const shrinkHoldReason = "its pool is made smaller";

/** The reason of a quarantine after a plugin found that somebody else uses the address. */
export const foundInUse = "a plugin found it in use";

/** Whether a claim is a hold on an address that its pool loses. */
export function isShrinkHold({ spec }: Pick<Claim, "spec">): boolean {
  return spec.purpose === "Hold" && spec.reason === shrinkHoldReason;
}

/** The claims of one pool, for the planner of its subnet. */
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

/** Whether this Pod has the claim for this NIC, in whichever sandbox. Two NICs in one pool have two claims. */
export function isMine(spec: SpiderIPAddressSpec, holder: Holder): boolean {
  return isHeld({ spec }) && spec.podUID === holder.pod.uid && spec.nic === holder.nic;
}

/** Whether the claim is kept for Pods like this one. It may still be in use. */
export function isHeir(spec: SpiderIPAddressSpec, { pod, nic, owner, sticky }: Holder): boolean {
  if (spec.purpose !== "Sticky" || sticky === undefined || owner === undefined) return false;
  if (spec.podNamespace !== pod.namespace || spec.nic !== nic || spec.owner !== owner.text) return false;
  return sticky === "owner" || spec.podName === pod.name;
}

/** The labels of a claim. */
export function claimLabels({ pool, node }: Pick<SpiderIPAddressSpec, "pool" | "node">): Record<string, string> {
  return {
    [labels.claimPool]: labelValue(pool),
    [labels.noBackup]: "true",
    ...(node !== undefined && { [labels.claimNode]: labelValue(node) }),
  };
}

/** The part of a claim's spec that says which sandbox has the address. */
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
    ...(owner !== undefined && { owner: owner.text, ownerUID: owner.uid }),
  };
}

/** The spec of a sticky claim that no sandbox has. It still names the last Pod. */
export function detached({
  node: _node,
  bootID: _boot,
  containerID: _container,
  ...spec
}: SpiderIPAddressSpec): SpiderIPAddressSpec {
  return spec;
}

/** The spec of a claim on an address that somebody else uses: nobody gets it before `until`. */
export function quarantined(
  spec: SpiderIPAddressSpec,
  { mac, until }: { readonly mac?: string; readonly until: Date },
): SpiderIPAddressSpec {
  if (spec.purpose === "Quarantine") return spec; // Our write took effect, but its answer was lost.
  const why = mac === undefined ? { reason: foundInUse } : { mac, reason: "another host answers for it" };
  return { ...detached(spec), purpose: "Quarantine", until: until.toISOString(), ...why };
}

/** The object that is sent to create a claim. */
export type ClaimDraft = Pick<SpiderIPAddress, "spec"> & {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
};

/** Makes the object for a claim of `holder` on `ip`. */
export function claimDraft(
  ip: Ip,
  pool: Pick<PoolView, "name" | "uid" | "generation">,
  holder: Holder,
  here: {
    readonly node: string;
    readonly bootId: string;
    readonly since: Date;
    readonly answer: string;
    readonly waiting?: number;
  },
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
      ...(here.waiting && { waiting: here.waiting }),
    },
  };
}
