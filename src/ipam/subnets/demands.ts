import { hasCode } from "#base";
import type { Family } from "#ip";
import type { EventSubject, ObjectMeta } from "#kube";
import type { AutoPoolOwner } from "../auto-pools.ts";
import { type IpNumber, parseSubnetAnnotations } from "../subnet-annotations.ts";

/** What is read of a Pod template. */
export interface PodTemplate {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly hostNetwork?: boolean };
}

/** A part of a subnet that an application is to have for one NIC of its Pods. */
export interface Demand {
  readonly owner: AutoPoolOwner;
  readonly subnet: string;
  /** Addresses. */
  readonly size: number;
  /** As the pool's annotation says it: `3` fixed, `+1` above the replicas. */
  readonly ipNumber: string;
  /** Whether the pool goes with the application. */
  readonly reclaim: boolean;
}

/** What a workload asks for; undefined: nothing. */
export type Demands =
  | { readonly kind: "wanted"; readonly list: readonly Demand[] }
  /** Its annotations cannot be read. */
  | { readonly kind: "broken"; readonly subject: EventSubject; readonly message: string };

interface WorkloadFacts {
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly template: PodTemplate | undefined;
  readonly replicas: number;
  /** Addresses above the replicas, where the annotations do not say. */
  readonly redundant: number;
}

/** What a workload's Pods need: one pool for each NIC and family. Pods on the host's network need none. */
export function demandsOf(workload: WorkloadFacts): Demands | undefined {
  const { apiGroup, apiVersion, kind, metadata, template, replicas, redundant } = workload;
  if (template?.spec?.hostNetwork === true) return undefined;
  const { namespace = "", name, uid } = metadata;
  try {
    const asked = parseSubnetAnnotations(template?.metadata?.annotations ?? {});
    if (asked === undefined) return undefined;
    const { nics, reclaim, ipNumber = { flexible: true, count: redundant } } = asked;
    const demand = (nic: string, family: Family, subnet: string): Demand => ({
      owner: { apiGroup, apiVersion, kind, namespace, name, uid, nic, family },
      subnet,
      size: ipNumber.count + (ipNumber.flexible ? replicas : 0),
      ipNumber: formatIpNumber(ipNumber),
      reclaim,
    });
    const list = nics.flatMap(({ nic, ...subnets }) =>
      ([4, 6] as const).flatMap((family) => {
        const subnet = subnets[family];
        return subnet === undefined ? [] : [demand(nic, family, subnet)];
      }),
    );
    return { kind: "wanted", list };
  } catch (error) {
    if (!hasCode(error, "WRONG_INPUT") || !(error instanceof Error)) throw error;
    const version = apiGroup === "" ? apiVersion : `${apiGroup}/${apiVersion}`;
    return { kind: "broken", subject: { apiVersion: version, kind, namespace, name, uid }, message: error.message };
  }
}

/** The application as what an Event is about. */
export function subjectOfDemand({ owner }: Demand): EventSubject {
  const { apiGroup, apiVersion, kind, namespace, name, uid } = owner;
  return { apiVersion: apiGroup === "" ? apiVersion : `${apiGroup}/${apiVersion}`, kind, namespace, name, uid };
}

function formatIpNumber({ flexible, count }: IpNumber): string {
  return `${flexible ? "+" : ""}${count}`;
}
