import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "#kube";
import type { Manifest } from "../manifests.ts";

/** Where `kubectl apply` keeps what it sent last. */
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

type Members = Readonly<Record<string, unknown>>;

/**
 * The stored object as `kubectl apply` of the manifest would leave it: members of the manifest over the stored ones, lists
 * as a whole; what an earlier manifest said and this one does not say is gone. `null` takes a member away.
 */
export function applied<T extends KubeObject>(stored: T, manifest: Manifest): T {
  const text = stored.metadata.annotations?.[lastApplied];
  const before = text === undefined ? {} : tryParse(text);
  const { apiVersion: _version, kind: _kind, status: _status, ...sent } = manifest as Members;
  return merged(stored as unknown as Members, before, sent) as unknown as T;
}

function merged(stored: Members, before: Members, sent: Members): Members {
  const found: Record<string, unknown> = { ...stored };
  for (const key of Object.keys(before)) if (!(key in sent)) delete found[key];
  for (const [key, value] of Object.entries(sent)) {
    if (value === null) delete found[key];
    else if (isMembers(value)) found[key] = merged(membersOf(found[key]), membersOf(before[key]), value);
    else found[key] = value;
  }
  // What is said as it is stays as it is, to the object: comparing is by value all the same.
  return isDeepStrictEqual(found, stored) ? stored : found;
}

function membersOf(value: unknown): Members {
  return isMembers(value) ? value : {};
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tryParse(text: string): Members {
  try {
    return membersOf(JSON.parse(text));
  } catch {
    return {};
  }
}
