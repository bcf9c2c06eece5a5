import { annotations, spiderIPPools } from "#api";
import type { Signal } from "#base";
import { hasReason, type KubeClient, type KubeObject } from "#kube";

/** The closure that the pool is under: agents give no new address of any pool while one has such a token. */
export function closureOf({ metadata }: KubeObject): string | undefined {
  return metadata.annotations?.[annotations.ledgerClosed];
}

/**
 * Closes the pool with this token; `undefined` opens it. Nothing is written where it is so already, or where the pool is gone
 * or another one by now; true: it was written. Throws what the API server answers otherwise.
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
