import type { SpiderIPAddressSpec } from "#api";
import type { PodRef } from "#cni";
import { claimAddress, claimName, type Ip } from "#ip";
import type { Answer } from "./answer.ts";
import { type ClaimDraft, claimLabels } from "./claim.ts";

/** An address that a Pod has from a system before this one, or that such a system kept for the next Pod of its name. */
export interface TakenOver {
  readonly ip: Ip;
  readonly pool: { readonly name: string; readonly uid: string; readonly generation: number };
  readonly pod: PodRef;
  readonly nic: string;
  /** Absent: nobody has the address, it is kept; and nobody has seen the end of who had it last. */
  readonly node: string | undefined;
  /** `apps/v1/StatefulSet/ns/web` of one whose addresses outlive its Pods. */
  readonly owner: { readonly text: string; readonly uid?: string } | undefined;
  readonly answer: Answer;
}

/** The claim by which an address of a former system is in the ledger. It names no sandbox: that one was not made by us. */
export function takenOverDraft({ ip, pool, pod, nic, node, owner, answer }: TakenOver, since: Date): ClaimDraft {
  return {
    metadata: { name: claimName(ip), labels: claimLabels({ pool: pool.name, ...(node !== undefined && { node }) }) },
    spec: {
      format: 1,
      address: claimAddress(ip),
      purpose: owner === undefined ? "Pod" : "Sticky",
      pool: pool.name,
      poolUID: pool.uid,
      poolGeneration: pool.generation,
      ...(node === undefined ? { unclean: true } : { node }),
      podNamespace: pod.namespace,
      podName: pod.name,
      podUID: pod.uid,
      nic,
      ...(owner !== undefined && { owner: owner.text, ...(owner.uid !== undefined && { ownerUID: owner.uid }) }),
      answer: JSON.stringify(answer),
      since: since.toISOString(),
    },
  };
}

/** The claim's holder has a sandbox of which this system has no record: only the runtime's DEL tells that it is gone. */
export function isTakenOver({ node, containerID }: Pick<SpiderIPAddressSpec, "node" | "containerID">): boolean {
  return node !== undefined && containerID === undefined;
}
