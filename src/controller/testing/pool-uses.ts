import { spiderIPAddresses, spiderIPPools } from "#api";
import { never, silentLogger } from "#base";
import { KubeClient, WatchedStore } from "#kube";
import type { ManualClock } from "../../base/testing/manual-clock.ts";
import type { FakeApi } from "../../kube/testing/fake-api.ts";
import { trimClaim } from "../pools/kept-claim.ts";
import { PoolUses } from "../pools/uses.ts";

interface FollowedUses extends AsyncDisposable {
  readonly client: KubeClient;
  readonly uses: PoolUses;
}

/** Who has addresses of the pools in the API, followed until it is disposed of. */
export async function followUses(
  api: FakeApi,
  { clock, coolDownMs }: { readonly clock: ManualClock; readonly coolDownMs: number },
): Promise<FollowedUses> {
  const client = new KubeClient({ transport: api, clock });
  const options = { client, clock, log: silentLogger };
  const pools = new WatchedStore({ ...options, resource: spiderIPPools });
  const claims = new WatchedStore({ ...options, resource: spiderIPAddresses, trim: trimClaim });
  const uses = new PoolUses(pools, claims, { clock, coolDownMs });
  const stop = new AbortController();
  const running = [pools.run(stop), claims.run(stop)];
  await Promise.all([pools.synced({ signal: never }), claims.synced({ signal: never })]);
  const end = async () => {
    stop.abort();
    await Promise.all(running);
  };
  return { client, uses, [Symbol.asyncDispose]: end };
}
