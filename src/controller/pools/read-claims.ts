import { labelValue, type SpiderIPPool, spiderIPAddresses } from "#api";
import type { Signal } from "#base";
import { claimName, type Ip, type IpSet, tryParseClaimName } from "#ip";
import { type KubeClient, metadataOf } from "#kube";
import { type Claim, claimOf } from "#ledger";

/** Up to this many addresses are read one by one; for more, all claims of the cluster are listed. */
const singleReadsMax = 256n;

/** Reads the claims on addresses of `set` from the API server, without any cache, whichever pool they name. */
export async function* readClaims(client: KubeClient, set: IpSet, o: Signal): AsyncGenerator<Claim, void, undefined> {
  for await (const name of set.size > singleReadsMax ? listedNames(client, set, o) : namesOf(set)) {
    const object = await client.get(spiderIPAddresses, { name }, o);
    const claim = object && claimOf(object);
    if (claim !== undefined) yield claim;
  }
}

/** Whether any claim has an address of the pool or names the pool's UID. `set` is undefined if the pool's `ips` are invalid. */
export async function isPoolInUse(
  client: KubeClient,
  { metadata }: SpiderIPPool,
  set: IpSet | undefined,
  o: Signal,
): Promise<boolean> {
  const labelSelector = `pool=${labelValue(metadata.name)}`;
  for await (const { spec } of client.listAll(spiderIPAddresses, { ...o, labelSelector })) {
    if (spec.poolUID === metadata.uid) return true;
  }
  if (set !== undefined) for await (const _claim of readClaims(client, set, o)) return true;
  return false;
}

/** How many Pods have an address of the pool, or have one kept for them. */
export async function countHolders(client: KubeClient, { metadata }: SpiderIPPool, o: Signal): Promise<number> {
  const labelSelector = `pool=${labelValue(metadata.name)}`;
  let count = 0;
  for await (const { spec } of client.listAll(spiderIPAddresses, { ...o, labelSelector })) {
    if (spec.poolUID === metadata.uid && (spec.purpose === "Pod" || spec.purpose === "Sticky")) count += 1;
  }
  return count;
}

function* namesOf(set: IpSet): Generator<string> {
  for (let index = 0n; index < set.size; index++) yield claimName(set.nth(index) as Ip);
}

async function* listedNames(client: KubeClient, set: IpSet, o: Signal): AsyncGenerator<string, void, undefined> {
  for await (const { metadata } of client.listAll(metadataOf(spiderIPAddresses), o)) {
    const ip = tryParseClaimName(metadata.name);
    if (ip !== undefined && set.contains(ip)) yield metadata.name;
  }
}
