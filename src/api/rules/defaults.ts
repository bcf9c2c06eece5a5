import type { Family } from "#ip";
import type { KubeObject, ObjectMeta } from "#kube";
import { finalizer } from "../group.ts";
import type { Submitted } from "../submitted.ts";
import { normaliseElements } from "./elements.ts";

/** Adds our finalizer. */
export function withFinalizer(metadata: Partial<ObjectMeta>): Partial<ObjectMeta> {
  const { finalizers = [] } = metadata;
  return finalizers.includes(finalizer) ? metadata : { ...metadata, finalizers: [...finalizers, finalizer] };
}

/** Sets one label. */
export function withLabel(metadata: Partial<ObjectMeta>, key: string, value: string): Partial<ObjectMeta> {
  return metadata.labels?.[key] === value ? metadata : { ...metadata, labels: { ...metadata.labels, [key]: value } };
}

/** True for an object that is being deleted: nothing is filled in any more. */
export function isTerminating({ metadata }: Submitted<KubeObject>): boolean {
  return metadata.deletionTimestamp !== undefined;
}

interface Lists {
  readonly ips?: readonly string[];
  readonly excludeIPs?: readonly string[];
}

/** Those lists that are set, in normal form. */
export function normalLists({ ips, excludeIPs }: Lists, family: Family): Lists {
  return {
    ...(ips !== undefined && { ips: normaliseElements(ips, family) }),
    ...(excludeIPs !== undefined && { excludeIPs: normaliseElements(excludeIPs, family) }),
  };
}
