import { isDeepStrictEqual } from "node:util";
import { isJsonObject, type JsonObject } from "#base";
import type { KubeObject } from "#kube";
import type { Manifest } from "../manifests.ts";

/** Where `kubectl apply` keeps what it sent last. */
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * The stored object as `kubectl apply` of the manifest would leave it: members of the manifest over the stored ones, lists
 * as a whole; what an earlier manifest said and this one does not say is gone. `null` takes a member away.
 */
export function applied<T extends KubeObject>(stored: T, manifest: Manifest): T {
  const text = stored.metadata.annotations?.[lastApplied];
  const before = text === undefined ? {} : tryParse(text);
  const { apiVersion: _version, kind: _kind, status: _status, ...sent } = manifest as JsonObject;
  return merged(stored as unknown as JsonObject, before, sent) as unknown as T;
}

function merged(stored: JsonObject, before: JsonObject, sent: JsonObject): JsonObject {
  const found: Record<string, unknown> = { ...stored };
  for (const key of Object.keys(before)) if (!(key in sent)) delete found[key];
  for (const [key, value] of Object.entries(sent)) {
    if (value === null) delete found[key];
    else if (isJsonObject(value)) found[key] = merged(membersOf(found[key]), membersOf(before[key]), value);
    else found[key] = value;
  }
  // The very same object if nothing changed: what compares by value finds out at once.
  return isDeepStrictEqual(found, stored) ? stored : found;
}

function membersOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

function tryParse(text: string): JsonObject {
  try {
    return membersOf(JSON.parse(text));
  } catch {
    return {};
  }
}
