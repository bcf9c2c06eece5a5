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

/** What every write of a claim needs. */
interface WriteOptions extends Signal {
  readonly client: KubeClient;
  readonly clock: Clock;
}

/** The node that writes, and its boot. */
interface Here {
  readonly node: string;
  readonly bootId: string;
}

/** How long a create whose answer was lost may still take effect: the API server gives it up after 14 s. */
export const echoMsMax = 15_000;

/**
 * How a create ended. `open`: a request whose answer was lost may still take effect. After a failure, no other address may
 * be created in its place; after success, it must not find the name free again.
 */
export type Created =
  | { readonly kind: "ours"; readonly open: boolean; readonly claim: Claim }
  | { readonly kind: "foreign" }
  | { readonly kind: "failed"; readonly open: boolean; readonly error: unknown };

/** Reads a claim from the API server; undefined if there is none of this name. */
export async function readClaim(client: KubeClient, name: string, o: Signal): Promise<Claim | undefined> {
  const object = await client.get(spiderIPAddresses, { name }, o);
  return object && claimOf(object);
}

/** The claims of Pods on a node, from one list of the API server. */
export async function* claimsOfNode(client: KubeClient, node: string, o: Signal): AsyncGenerator<Claim> {
  const labelSelector = `${labels.claimNode}=${labelValue(node)}`;
  for await (const object of client.listAll(spiderIPAddresses, { ...o, labelSelector })) {
    const claim = claimOf(object);
    if (claim !== undefined && claim.spec.node === node && isHeld(claim)) yield claim;
  }
}

/** Like {@link claimsOfNode}, but only claims of these names, each of which is read. */
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
 * Creates a claim, and repeats the create until the outcome is known. `open` says that an earlier create of this name may have
 * taken effect; only then can an existing object be the holder's own. If it is somebody else's, our create whose answer was lost
 * could still take effect once theirs is deleted, so that time is waited for. `before` is called before each request.
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
 * Changes a claim's spec by `next`, and reads and writes it again until the outcome is known. Returns the claim. `next` returns
 * the spec that it got if nothing is to be written, and undefined if the claim is no longer the caller's; then this function
 * returns undefined, too.
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
    claim = undefined; // Whether the write succeeds or not, the known version is outdated.
    return writeClaim(client, before, spec, o);
  };
  const retryable = (error: unknown) => hasReason(error, "Conflict", "NotFound") || mayRepeat(error);
  return persist(change, { signal, clock, retryable });
}

/** Writes a claim's spec once, on condition that the known version is the newest. */
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
 * Makes this sandbox the claim's holder; undefined if the Pod no longer has the claim. If the sandbox is another one, the claim
 * is always written: the new resourceVersion makes a delete fail that was decided on an older version.
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
 * Restores the known sandbox in a claim, after etcd was restored to a time when another sandbox of the Pod had it. Undefined if
 * nothing is to be written, or if somebody else writes the claim at the same time: then theirs counts.
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

/** Gives a detached sticky claim to the next Pod, which gets the same answer as the last one. The claim is always written. */
export function adoptClaim(known: Claim, holder: Holder, o: WriteOptions & Here): Promise<Claim | undefined> {
  const adopt = (spec: SpiderIPAddressSpec) => {
    if (spec.node !== undefined) {
      // It is ours if the answer of an earlier write was lost, in this ADD or another one.
      if (!isMine(spec, holder) || spec.node !== o.node) return undefined;
      return spec.containerID === holder.containerId ? spec : { ...spec, ...attachment(holder, o) };
    }
    if (!isHeir(spec, holder)) return undefined;
    const { unclean: _unclean, ...clean } = spec;
    return { ...clean, ...attachment(holder, o) };
  };
  return changeClaim(known, adopt, o);
}
