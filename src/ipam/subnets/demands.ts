import { hasCode } from "#base";
import { sentenceOf } from "#cni";
import type { Family } from "#ip";
import type { EventSubject, ObjectMeta } from "#kube";
import type { AutoPoolOwner } from "../auto-pools.ts";
import { type IpNumber, parseSubnetAnnotations } from "../subnet-annotations.ts";

/** The parts of a Pod template that are read. */
export interface PodTemplate {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly hostNetwork?: boolean };
}

/** The part of a subnet that an application needs for one NIC of its Pods. */
export interface Demand {
  readonly owner: AutoPoolOwner;
  readonly subnet: string;
  /** How many addresses it needs. */
  readonly size: number;
  /** The size in the format of the pool's annotation: `3`, or `+1` for one more than the replicas. */
  readonly ipNumber: string;
  /** Whether the pool is deleted with the application. */
  readonly reclaim: boolean;
}

/** What a workload asks for. */
export type Demands =
  | { readonly kind: "wanted"; readonly list: readonly Demand[] }
  /** Its annotations are wrong. */
  | { readonly kind: "broken"; readonly subject: EventSubject; readonly message: string };

interface WorkloadFacts {
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly template: PodTemplate | undefined;
  readonly replicas: number;
  /** How many addresses it gets beyond its replicas if the annotations do not say. */
  readonly redundant: number;
}

/** What a workload asks for: a pool for each NIC and family. Undefined if it asks for none or uses the host's network. */
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
    return {
      kind: "broken",
      subject: { apiVersion: version, kind, namespace, name, uid },
      message: sentenceOf(error).message,
    };
  }
}

/** The application of a demand, as the object of an Event. */
export function subjectOfDemand({ owner }: Demand): EventSubject {
  const { apiGroup, apiVersion, kind, namespace, name, uid } = owner;
  return { apiVersion: apiGroup === "" ? apiVersion : `${apiGroup}/${apiVersion}`, kind, namespace, name, uid };
}

function formatIpNumber({ flexible, count }: IpNumber): string {
  return `${flexible ? "+" : ""}${count}`;
}
