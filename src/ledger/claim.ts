import { createHash } from "node:crypto";
import type { SpiderIPAddress, SpiderIPAddressSpec } from "#api";
import type { PodRef } from "#cni";
import { claimAddress, claimName, type Family, type Ip, tryParseClaimName } from "#ip";
import type { PoolView } from "#ipam";

/** Who holds an address: identity is (Pod UID, NIC) and, within it, the sandbox. Names are for people. */
export interface Holder {
  readonly pod: PodRef;
  readonly nic: string;
  readonly containerId: string;
  /** The CNI network's name: the scope of CNI GC. */
  readonly network: string;
  /** `apps/v1/StatefulSet/ns/web` and its UID, where the Pod has a controller. */
  readonly owner?: { readonly text: string; readonly uid: string } | undefined;
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

/** Held by this Pod for this NIC, whichever sandbox it was made for: two NICs in one pool are two claims. */
export function isMine(spec: SpiderIPAddressSpec, holder: Holder): boolean {
  const ours = spec.purpose === "Pod" || spec.purpose === "Sticky";
  return ours && spec.podUID === holder.pod.uid && spec.nic === holder.nic;
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
    metadata: { name: claimName(ip), labels: { pool: labelValue(pool.name), node: labelValue(here.node) } },
    spec: {
      format: 1,
      address: claimAddress(ip),
      purpose: "Pod",
      pool: pool.name,
      poolUID: pool.uid,
      poolGeneration: pool.generation,
      node: here.node,
      bootID: here.bootId,
      podNamespace: holder.pod.namespace,
      podName: holder.pod.name,
      podUID: holder.pod.uid,
      nic: holder.nic,
      containerID: holder.containerId,
      network: holder.network,
      ...(holder.owner === undefined ? {} : { owner: holder.owner.text, ownerUID: holder.owner.uid }),
      answer: here.answer,
      since: here.since.toISOString(),
    },
  };
}

/** A name as a label's value, which has 63 bytes: longer ones become a hash. The truth is in `spec`. */
export function labelValue(name: string): string {
  return name.length <= 63 ? name : `h-${createHash("sha256").update(name).digest("hex").slice(0, 20)}`;
}
