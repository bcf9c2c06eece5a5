import type { SpiderIPAddressSpec } from "#api";
import type { PodRef } from "#cni";
import { claimAddress, claimName, type Ip } from "#ip";
import type { Answer } from "./answer.ts";
import { type ClaimDraft, claimLabels } from "./claim.ts";

/** An address that a Pod got from a former system, or that such a system kept for the next Pod of the name. */
export interface TakenOver {
  readonly ip: Ip;
  readonly pool: { readonly name: string; readonly uid: string; readonly generation: number };
  readonly pod: PodRef;
  readonly nic: string;
  /** The node of the Pod; absent if the address is kept for the next Pod. Nobody has seen the end of its last user then. */
  readonly node: string | undefined;
  /** `apps/v1/StatefulSet/ns/web`, if the address outlives its Pod. */
  readonly owner: { readonly text: string; readonly uid?: string } | undefined;
  readonly answer: Answer;
}

/** The claim for an address of a former system. It names no sandbox, because we did not make it. */
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

/** Whether a former system made the claim's sandbox. There is no record of it: only the runtime's DEL tells that it has ended. */
export function isTakenOver({ node, containerID }: Pick<SpiderIPAddressSpec, "node" | "containerID">): boolean {
  return node !== undefined && containerID === undefined;
}
