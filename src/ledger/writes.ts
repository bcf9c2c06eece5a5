import { labels, labelValue, type SpiderIPAddressSpec, spiderIPAddresses } from "#api";
import type { Clock, Signal } from "#base";
import { hasReason, type KubeClient, mayRepeat, surelyUnchanged } from "#kube";
import {
  attachment,
  type Claim,
  type ClaimDraft,
  claimLabels,
  claimOf,
  type Holder,
  isHeir,
  isHeld,
  isMine,
} from "./claim.ts";
import { persist } from "./persist.ts";

/** How claims are written: by which client, on which clock, until when. */
export interface WriteOptions extends Signal {
  readonly client: KubeClient;
  readonly clock: Clock;
}

/** The node that writes, in this boot. */
interface Here {
  readonly node: string;
  readonly bootId: string;
}

/** How long a create whose answer was lost may take effect: the server gives up on it after 14 s. */
export const echoMsMax = 15_000;

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

/** What Pods hold or held on a node. */
export async function* claimsOfNode(client: KubeClient, node: string, o: Signal): AsyncGenerator<Claim> {
  const labelSelector = `${labels.claimNode}=${labelValue(node)}`;
  for await (const object of client.listAll(spiderIPAddresses, { ...o, labelSelector })) {
    const claim = claimOf(object);
    if (claim !== undefined && claim.spec.node === node && isHeld(claim)) yield claim;
  }
}

/** Of the claims with these names those that Pods hold or held on a node, each read from the server. */
export async function* heldOfNode(
  client: KubeClient,
  node: string,
  names: readonly string[],
  o: Signal,
): AsyncGenerator<Claim> {
  for (const name of names) {
    const claim = await readClaim(client, name, o);
    if (claim !== undefined && claim.spec.node === node && isHeld(claim)) yield claim;
  }
}

/**
 * Creates, and repeats the same name until the outcome is certain. `open` says that an earlier create of this name may have
 * taken effect: only then can an object that exists already be the holder's own. Where it is somebody else's, one that was lost
 * here may still take effect when theirs has gone: that is waited for. `before` is waited for before each request.
 */
export async function createClaim(
  draft: ClaimDraft,
  holder: Holder,
  {
    client,
    signal,
    clock,
    before,
    ...options
  }: WriteOptions & { readonly open: boolean; readonly before?: ((o: Signal) => Promise<void>) | undefined },
): Promise<Created> {
  let { open } = options;
  let openUntilMs = Number.NEGATIVE_INFINITY;
  const create = async (o: Signal): Promise<Created> => {
    await before?.(o);
    try {
      const claim = claimOf(await client.create(spiderIPAddresses, draft, o));
      return claim === undefined ? { kind: "foreign" } : { kind: "ours", open, claim };
    } catch (error) {
      if (!hasReason(error, "AlreadyExists")) {
        if (!surelyUnchanged(error)) {
          open = true;
          openUntilMs = clock.monotonicMs() + echoMsMax;
        }
        throw error;
      }
      if (!open) return { kind: "foreign" };
      const found = await readClaim(client, draft.metadata.name, o);
      if (found === undefined) throw error; // Deleted since: the name is free again.
      if (isMine(found.spec, holder)) return { kind: "ours", open, claim: found };
      const openMs = openUntilMs - clock.monotonicMs();
      if (openMs <= 0) return { kind: "foreign" };
      await clock.sleep(openMs, o);
      throw error;
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
 * The claim with what `next` makes of its spec, read and written again until that is certain. `next` gives the very spec
 * that it got where nothing is to be written, and undefined where the claim is not the caller's (any more): so does this.
 */
export function changeClaim(
  known: Claim,
  next: (spec: SpiderIPAddressSpec) => SpiderIPAddressSpec | undefined,
  { client, signal, clock }: WriteOptions,
): Promise<Claim | undefined> {
  let claim: Claim | undefined = known;
  const change = async (o: Signal): Promise<Claim | undefined> => {
    claim ??= await readClaim(client, known.name, o);
    if (claim?.uid !== known.uid) return undefined;
    const spec = next(claim.spec);
    if (spec === undefined || spec === claim.spec) return spec && claim;
    const before = claim;
    claim = undefined; // Whatever comes of the write, what was known is not the newest any more.
    return writeClaim(client, before, spec, o);
  };
  const retryable = (error: unknown) => hasReason(error, "Conflict", "NotFound") || mayRepeat(error);
  return persist(change, { signal, clock, retryable });
}

/** One write, of exactly the version that is known. */
export async function writeClaim(
  client: KubeClient,
  { name, uid, resourceVersion }: Claim,
  spec: SpiderIPAddressSpec,
  o: Signal,
): Promise<Claim | undefined> {
  const metadata = { name, uid, resourceVersion, labels: claimLabels(spec) };
  return claimOf(await client.update(spiderIPAddresses, { metadata, spec }, o));
}

/**
 * The claim with this sandbox as its holder; undefined where the holder no longer has it. Another sandbox always means a
 * write: it moves the resourceVersion, so that a delete which was decided on an older view fails.
 */
export function attachClaim(known: Claim, holder: Holder, o: WriteOptions & Here): Promise<Claim | undefined> {
  const attach = (spec: SpiderIPAddressSpec) => {
    if (!isMine(spec, holder)) return undefined;
    const here = spec.containerID === holder.containerId && spec.bootID === o.bootId;
    return here ? spec : { ...spec, node: o.node, containerID: holder.containerId, bootID: o.bootId };
  };
  return changeClaim(known, attach, o);
}

/**
 * Where etcd was put back to a time when another sandbox of the Pod had the claim: the claim with the attachment that is known.
 * Undefined where there is nothing to write, or somebody else writes it at the same time, who is right.
 */
export async function attachAgain(
  found: Claim,
  { uid, spec: { containerID, bootID } }: Claim,
  { client, ...o }: Signal & Pick<WriteOptions, "client">,
): Promise<Claim | undefined> {
  if (uid !== found.uid || containerID === undefined || bootID === undefined) return undefined;
  if (found.spec.containerID === containerID) return undefined;
  return writeClaim(client, found, { ...found.spec, containerID, bootID }, o).catch((error: unknown) => {
    if (hasReason(error, "Conflict", "NotFound")) return undefined;
    throw error;
  });
}

/** A detached sticky claim passes to the next Pod, with what its predecessor was told. It is always written. */
export function adoptClaim(known: Claim, holder: Holder, o: WriteOptions & Here): Promise<Claim | undefined> {
  const adopt = (spec: SpiderIPAddressSpec) => {
    if (spec.node !== undefined) {
      // Ours by a write whose answer was lost, of this ADD or of a former one.
      if (!isMine(spec, holder) || spec.node !== o.node) return undefined;
      return spec.containerID === holder.containerId ? spec : { ...spec, ...attachment(holder, o) };
    }
    if (!isHeir(spec, holder)) return undefined;
    const { unclean: _unclean, ...clean } = spec;
    return { ...clean, ...attachment(holder, o) };
  };
  return changeClaim(known, adopt, o);
}
