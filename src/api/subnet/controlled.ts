import * as v from "valibot";
import type { ControlledIPPools } from "./types.ts";

const controlled = v.record(v.string(), v.object({ ips: v.array(v.string()), application: v.optional(v.string()) }));

/** `status.controlledIPPools` decoded, empty where it is absent; undefined where it is not what we write. */
export function parseControlledIPPools(text = "{}"): ControlledIPPools | undefined {
  try {
    return v.parse(controlled, JSON.parse(text)) as ControlledIPPools;
  } catch {
    return undefined;
  }
}

/** Who a workload is, as `controlledIPPools`, labels and `podAffinity` of its pools say it. */
export interface ApplicationName {
  /** Empty for the core group. */
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** `apps_v1_Deployment_default_web`; without its first part for the core group. */
export function applicationKey({ apiGroup, apiVersion, kind, namespace, name }: ApplicationName): string {
  return [...(apiGroup === "" ? [] : [apiGroup]), apiVersion, kind, namespace, name].join("_");
}

/** The inverse of {@link applicationKey}; undefined for a text of another number of parts. */
export function parseApplicationKey(key: string): ApplicationName | undefined {
  const parts = key.split("_");
  const [apiGroup, apiVersion, kind, namespace, name] = parts.length === 4 ? ["", ...parts] : parts;
  if (parts.length > 5 || apiGroup === undefined || apiVersion === undefined) return undefined;
  if (kind === undefined || namespace === undefined || name === undefined) return undefined;
  return { apiGroup, apiVersion, kind, namespace, name };
}
