import { isJsonObject } from "#base";
import type { Manifest } from "./manifests.ts";

/** Where the kinds that make Pods have the template of one; a Pod is its own. */
const paths: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};

/** The kinds that are Pods or make Pods. */
export const podKinds: readonly string[] = Object.keys(paths);

/** A Pod in a manifest, or the template of one. */
interface TemplateInManifest {
  /** Its place in the manifest: `["spec", "template"]`. */
  readonly path: readonly string[];
  readonly template: unknown;
}

/** The Pod that the manifest is, or the template of those that it makes; undefined for other kinds. */
export function templateIn(manifest: Manifest): TemplateInManifest | undefined {
  const { kind = "" } = manifest;
  const path = Object.hasOwn(paths, kind) ? paths[kind] : undefined;
  return path && { path, template: path.reduce<unknown>((at, key) => memberOf(at, key), manifest) };
}

/** A member of what may be an object; undefined if it is none. */
export function memberOf(value: unknown, key: string): unknown {
  return isJsonObject(value) ? value[key] : undefined;
}
