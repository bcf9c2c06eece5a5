import * as v from "valibot";
import type { ControlledIPPools } from "./types.ts";

const controlled = v.record(v.string(), v.object({ ips: v.array(v.string()), application: v.optional(v.string()) }));

/** Decodes `status.controlledIPPools`. Empty if it is absent; undefined if it is not in our format. */
export function parseControlledIPPools(text = "{}"): ControlledIPPools | undefined {
  try {
    return v.parse(controlled, JSON.parse(text)) as ControlledIPPools;
  } catch {
    return undefined;
  }
}

/** Encodes `status.controlledIPPools`; undefined if there are no pools, because the field is absent then. */
export function formatControlledIPPools(pools: ControlledIPPools): string | undefined {
  return Object.keys(pools).length === 0 ? undefined : JSON.stringify(pools);
}

/** The identity of a workload, as in `controlledIPPools` and in labels and `podAffinity` of its pools. */
export interface ApplicationName {
  /** Empty for the core group. */
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** `apps_v1_Deployment_default_web`; for the core group without the first part. */
export function applicationKey({ apiGroup, apiVersion, kind, namespace, name }: ApplicationName): string {
  return [...(apiGroup === "" ? [] : [apiGroup]), apiVersion, kind, namespace, name].join("_");
}

/** The inverse of {@link applicationKey}; undefined for text with another number of parts. */
export function parseApplicationKey(key: string): ApplicationName | undefined {
  const parts = key.split("_");
  const [apiGroup, apiVersion, kind, namespace, name] = parts.length === 4 ? ["", ...parts] : parts;
  if (parts.length > 5 || apiGroup === undefined || apiVersion === undefined) return undefined;
  if (kind === undefined || namespace === undefined || name === undefined) return undefined;
  return { apiGroup, apiVersion, kind, namespace, name };
}
