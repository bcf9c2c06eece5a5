import { isDeepStrictEqual } from "node:util";
import { type Settings, type SpiderEndpoint, type SpiderEndpointIp, spiderEndpoints } from "#api";
import { type Clock, KeyedLock, type Signal } from "#base";
import { claimName, type Family, tryParsePrefix } from "#ip";
import { routesAskedBy } from "#ipam";
import {
  hasReason,
  isPodUid,
  type KubeClient,
  keyOf,
  mayRepeat,
  metadataOf,
  type Pod,
  retry,
  type TopControllers,
} from "#kube";
import {
  type Claim,
  endpointDraft,
  endpointNics,
  endpointOf,
  type Ledger,
  nicsInOrder,
  type StickyOwner,
  stickyOwnerOf,
} from "#ledger";

/** Nobody reads the answer of a create. */
const unreadEndpoints = metadataOf(spiderEndpoints);

interface EndpointsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly ledger: Pick<Ledger, "claimsNamed">;
  readonly owners: TopControllers;
  readonly node: string;
  readonly settings: Pick<Settings, "enableStatefulSet" | "enableKubevirtStaticIP">;
}

/**
 * Writes SpiderEndpoints, one for each Pod, where people and tools read about its addresses. For sticky owners it is also the
 * index by which the next Pod finds its kept addresses. Then it has no owner reference, and keeps NICs that the new Pod does not
 * have yet.
 */
export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #views: KubeClient;
  /** One write at a time for each Pod, because two of its NICs may be added at once. */
  readonly #writers = new KeyedLock();

  constructor(options: EndpointsOptions) {
    this.#options = options;
    this.#views = options.client.forViews();
  }

  /** Names of the claims that are kept for a NIC, by family. */
  async kept(
    { metadata }: Pod,
    { endpoint }: StickyOwner,
    nic: string,
    o: Signal,
  ): Promise<Readonly<Record<Family, readonly string[]>>> {
    const found = await this.#options.client.get(
      spiderEndpoints,
      { namespace: metadata.namespace ?? "", name: endpoint },
      o,
    );
    const nics = found?.status.current.ips.filter((one) => one.interface === nic) ?? [];
    return { 4: nics.flatMap(({ ipv4 }) => namesOf(ipv4)), 6: nics.flatMap(({ ipv6 }) => namesOf(ipv6)) };
  }

  /** Whether the endpoint that the next Pod will read names this claim. */
  async names(claim: Claim, o: Signal): Promise<boolean> {
    const { podNamespace: namespace = "", nic } = claim.spec;
    const found = await this.#options.client.get(spiderEndpoints, { namespace, name: endpointOf(claim) }, o);
    return (found?.status.current.ips ?? [])
      .filter((one) => one.interface === nic)
      .some(({ ipv4, ipv6 }) => [...namesOf(ipv4), ...namesOf(ipv6)].includes(claim.name));
  }

  /**
   * Creates the endpoint of a Pod that has none. False if there is one already, perhaps of another Pod of that name, or if a
   * sticky owner has it: then `write` must follow when the Pod is known to exist. Retries what may succeed later.
   */
  async create(pod: Pod, o: Signal): Promise<boolean> {
    const { clock, settings } = this.#options;
    if (stickyOwnerOf(pod, settings) !== undefined) return false;
    const make = async (signal: Signal) => {
      const wanted = await this.#wanted(pod, signal);
      return wanted === undefined || (await isNew(this.#views.create(unreadEndpoints, wanted, signal)));
    };
    return await this.#writers.run(pod.metadata.uid, () => retry(make, { ...o, clock, retryable: mayRepeat }), o);
  }

  /** Writes the Pod's claims on this node into its endpoint, if it differs. Retries what may succeed later. */
  async write(pod: Pod, o: Signal): Promise<void> {
    const { clock } = this.#options;
    const retryable = (error: unknown) => hasReason(error, "Conflict", "AlreadyExists") || mayRepeat(error);
    await this.#writers.run(
      pod.metadata.uid,
      () => retry((signal) => this.#write(pod, signal), { ...o, clock, retryable }),
      o,
    );
  }

  /** Makes the endpoint of a sticky owner's Pod again where somebody has deleted it: the next Pod has no other index. */
  async restore(pod: Pod, o: Signal): Promise<void> {
    const name = stickyOwnerOf(pod, this.#options.settings)?.endpoint;
    if (name === undefined) return;
    const { namespace = "" } = pod.metadata;
    if ((await this.#views.get(spiderEndpoints, { namespace, name }, o)) === undefined) await this.write(pod, o);
  }

  /** Removes addresses that are about to be given back from the Pod's endpoint. The object stays for the next ADD. */
  async withdraw(pod: Pod, given: readonly Claim[], o: Signal): Promise<void> {
    const { client, clock } = this.#options;
    const { namespace = "", name, uid } = pod.metadata;
    const names = new Set(given.map((claim) => claim.name));
    const isKept = ({ ipv4, ipv6 }: SpiderEndpointIp) =>
      ![...namesOf(ipv4), ...namesOf(ipv6)].some((claim) => names.has(claim));
    const act = async (signal: Signal) => {
      const found = await client.get(spiderEndpoints, { namespace, name }, signal);
      if (found === undefined || found.status.current.uid !== uid) return;
      const { current } = found.status;
      const ips = current.ips.filter(isKept);
      if (ips.length === current.ips.length) return;
      const status = { ...found.status, current: { ...current, ips } };
      await client.update(spiderEndpoints, { ...found, status }, signal);
    };
    const retryable = (error: unknown) => hasReason(error, "Conflict") || mayRepeat(error);
    await this.#writers.run(uid, () => retry(act, { ...o, clock, retryable }), o);
  }

  async #write(pod: Pod, o: Signal): Promise<void> {
    const wanted = await this.#wanted(pod, o);
    if (wanted === undefined) return;
    const isSticky = wanted.metadata.ownerReferences.length === 0;
    // ADDs wait for the index of a sticky owner. Any other endpoint is only a view.
    const client = isSticky ? this.#options.client : this.#views;
    const found = await client.get(spiderEndpoints, wanted.metadata, o);
    const { current } = wanted.status;
    const ips = isSticky ? withKept(current.ips, found) : current.ips;
    const status = { ...wanted.status, current: { ...current, ips } };
    const { ownerReferences } = wanted.metadata;
    if (found === undefined) await client.create(spiderEndpoints, { ...wanted, status }, o);
    else if (!isAsWritten(found, status, ownerReferences)) {
      await client.update(spiderEndpoints, { ...found, metadata: { ...found.metadata, ownerReferences }, status }, o);
    }
  }

  /** The endpoint according to the Pod's claims on this node; undefined if it has none. */
  async #wanted(pod: Pod, o: Signal) {
    const { owners, node, settings } = this.#options;
    const { namespace = "", name, uid } = pod.metadata;
    const claims = this.#claimsOf(pod);
    const ips = endpointNics(claims, routesAskedBy(pod.metadata.annotations ?? {}));
    if (ips.length === 0) return undefined;
    const sticky = stickyOwnerOf(pod, settings);
    const owner = await owners.of(pod, o);
    // What was kept for the Pod is still kept if its owner orphans it, because the next owner of that name needs it.
    const isKept = sticky !== undefined || claims.some(({ spec }) => spec.purpose === "Sticky");
    return endpointDraft({
      name: sticky?.endpoint ?? name,
      pod: { namespace, name, uid },
      node,
      ips,
      owner,
      isKept,
    });
  }

  /** The claims with the Pod's name and one of its UIDs: claims of a static Pod have the runtime's UID, not the mirror's. */
  #claimsOf(pod: Pod): readonly Claim[] {
    const claims = this.#options.ledger.claimsNamed(keyOf(pod.metadata));
    return claims.filter(({ spec }) => isPodUid(pod, spec.podUID ?? "none"));
  }
}

/** Whether the object was created. False if there is one of that name. */
async function isNew(create: Promise<unknown>): Promise<boolean> {
  try {
    await create;
    return true;
  } catch (error) {
    if (hasReason(error, "AlreadyExists")) return false;
    throw error;
  }
}

/** The NICs of a sticky Pod, and those of its predecessor that it does not have yet. */
function withKept(nics: readonly SpiderEndpointIp[], found: SpiderEndpoint | undefined): readonly SpiderEndpointIp[] {
  const have = new Set(nics.map((one) => one.interface));
  const kept = (found?.status.current.ips ?? []).filter((one) => !have.has(one.interface));
  return nicsInOrder([...nics, ...kept]);
}

/** Compares regardless of the order of fields: the server sorts those of custom resources. */
function isAsWritten(
  { status, metadata }: SpiderEndpoint,
  wanted: object,
  ownerReferences: readonly { readonly uid: string }[],
): boolean {
  const owners = (list: readonly { readonly uid: string }[] = []) => list.map(({ uid }) => uid);
  return (
    isDeepStrictEqual(status, wanted) && isDeepStrictEqual(owners(metadata.ownerReferences), owners(ownerReferences))
  );
}

/** The name of the claim of `10.6.0.1/16`; none if the text is malformed. */
function namesOf(address: string | undefined): readonly string[] {
  const prefix = address === undefined ? undefined : tryParsePrefix(address);
  return prefix === undefined ? [] : [claimName(prefix.ip)];
}
