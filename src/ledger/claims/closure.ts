import { annotations, spiderIPPools } from "#api";
import type { Signal } from "#base";
import { hasReason, type KubeClient, type KubeObject } from "#kube";

/** The token with which a pool is closed; undefined if it is open. While any pool is closed, agents give no new address. */
export function closureOf({ metadata }: KubeObject): string | undefined {
  return metadata.annotations?.[annotations.ledgerClosed];
}

/**
 * Closes the pool with this token, or opens it (`undefined`). Returns whether that was written: not if it is so already, nor if
 * the pool was deleted or replaced meanwhile. Throws any other error of the API server.
 */
export async function setClosure(
  client: KubeClient,
  pool: KubeObject,
  token: string | undefined,
  o: Signal,
): Promise<boolean> {
  if (closureOf(pool) === token) return false;
  const { name, uid } = pool.metadata;
  const body = { metadata: { uid, annotations: { [annotations.ledgerClosed]: token ?? null } } };
  try {
    await client.patch(spiderIPPools, { name }, { kind: "merge", body }, o);
    return true;
  } catch (error) {
    if (hasReason(error, "NotFound", "Conflict", "Invalid")) return false;
    throw error;
  }
}
