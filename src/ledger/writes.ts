import { spiderIPAddresses } from "#api";
import type { Clock, Signal } from "#base";
import { hasReason, isRetryable, type KubeClient, surelyUnchanged } from "#kube";
import { type Claim, type ClaimDraft, claimOf, type Holder, isMine, labelValue } from "./claim.ts";
import { persist } from "./persist.ts";

export interface WriteOptions extends Signal {
  readonly client: KubeClient;
  readonly clock: Clock;
}

/**
 * How a create ended. `open`: a request whose answer was lost may still take effect. After a failure, no other address may
 * be created in its place; after success, it must not find the name free again.
 */
export type Created =
  | { readonly kind: "ours"; readonly open: boolean; readonly claim: Claim }
  | { readonly kind: "foreign" }
  | { readonly kind: "failed"; readonly open: boolean; readonly error: unknown };

/** The claim of this name as it is now. */
export async function readClaim(client: KubeClient, name: string, o: Signal): Promise<Claim | undefined> {
  const object = await client.get(spiderIPAddresses, { name }, o);
  return object && claimOf(object);
}

/**
 * Creates, and repeats the same name until the outcome is certain. `open` says that an earlier create of this name may have
 * taken effect: only then can an object that exists already be the holder's own.
 */
export async function createClaim(
  draft: ClaimDraft,
  holder: Holder,
  { client, signal, clock, ...options }: WriteOptions & { readonly open: boolean },
): Promise<Created> {
  let { open } = options;
  const create = async (o: Signal): Promise<Created> => {
    try {
      const claim = claimOf(await client.create(spiderIPAddresses, draft, o));
      return claim === undefined ? { kind: "foreign" } : { kind: "ours", open, claim };
    } catch (error) {
      if (!hasReason(error, "AlreadyExists")) {
        open ||= !surelyUnchanged(error);
        throw error;
      }
      if (!open) return { kind: "foreign" };
      const found = await readClaim(client, draft.metadata.name, o);
      if (found === undefined) throw error; // Deleted since: the name is free again.
      return isMine(found.spec, holder) ? { kind: "ours", open, claim: found } : { kind: "foreign" };
    }
  };
  const retryable = (error: unknown) => hasReason(error, "AlreadyExists") || mayRepeat(error);
  try {
    return await persist(create, { signal, clock, retryable });
  } catch (error) {
    return { kind: "failed", open, error };
  }
}

/**
 * The claim with this sandbox as its holder; undefined where the holder no longer has it. Another sandbox always means a
 * write: it moves the resourceVersion, so that a delete which was decided on an older view fails.
 */
export function attachClaim(
  known: Claim,
  holder: Holder,
  { client, signal, clock, ...here }: WriteOptions & { readonly node: string; readonly bootId: string },
): Promise<Claim | undefined> {
  let claim: Claim | undefined = known;
  const attach = async (o: Signal): Promise<Claim | undefined> => {
    claim ??= await readClaim(client, known.name, o);
    if (claim?.uid !== known.uid || !isMine(claim.spec, holder)) return undefined;
    const { name, uid, resourceVersion, spec } = claim;
    if (spec.containerID === holder.containerId && spec.bootID === here.bootId) return claim;
    const labels = { pool: labelValue(spec.pool), node: labelValue(here.node) };
    const next = { ...spec, containerID: holder.containerId, bootID: here.bootId };
    claim = undefined; // Whatever comes of the write, what was known is not the newest any more.
    return claimOf(
      await client.update(spiderIPAddresses, { metadata: { name, uid, resourceVersion, labels }, spec: next }, o),
    );
  };
  const retryable = (error: unknown) => hasReason(error, "Conflict", "NotFound") || mayRepeat(error);
  return persist(attach, { signal, clock, retryable });
}

/** Neither write does harm when it is repeated: a name is created once, an update holds for one resourceVersion. */
function mayRepeat(error: unknown): boolean {
  return isRetryable(error) || !surelyUnchanged(error);
}
