import { spiderEndpoints, spiderIPAddresses, spiderIPPools } from "#api";
import type { Clock, Signal } from "#base";
import { type KubeClient, type KubeObject, pods, type Resource } from "#kube";
import { claimOf } from "#ledger";
import type { Observed, Read } from "./compare.ts";

/** Reads all sources, claims before Pods: otherwise a claim for a Pod created in between would seem to have no Pod. */
export async function observe(client: KubeClient, clock: Clock, { signal }: Signal): Promise<Observed> {
  const read = listReader(client, clock, { signal });
  const endpoints = await read(spiderEndpoints);
  const [pools, claims] = [await read(spiderIPPools), await read(spiderIPAddresses)];
  const found = await read(pods);
  return {
    pools,
    endpoints,
    pods: found,
    claims: { readAt: claims.readAt, items: claims.items.flatMap((one) => claimOf(one) ?? []) },
  };
}

/** Returns a function that lists a collection, and notes when. It throws the API server's errors. */
export function listReader(client: KubeClient, clock: Clock, { signal }: Signal) {
  return async <T extends KubeObject>(resource: Resource<T>): Promise<Read<T>> => {
    const readAt = clock.wall();
    return { items: await Array.fromAsync(client.listAll(resource, { signal })), readAt };
  };
}
