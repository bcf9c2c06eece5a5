import { type SpiderIPPool, spiderIPAddresses } from "#api";
import type { Signal } from "#base";
import { claimAddress, claimName, type Ip, type IpSet } from "#ip";
import { hasReason } from "#kube";
import { claimLabels, isShrinkHold, shrinkHoldReason } from "#ledger";
import type { Deps } from "../deps.ts";
import type { PoolUses } from "../pools/uses.ts";

/** Longer than it takes to shrink a pool; normally the leader ends holds earlier. */
const holdMs = 300_000;
const writesAtOnce = 8;

/** Claims the addresses, so that no Pod can. Skips addresses that were claimed meanwhile. */
export async function hold({ client, clock }: Deps, pool: SpiderIPPool, ips: IpSet, o: Signal): Promise<void> {
  const { name, uid, generation = 0 } = pool.metadata;
  const at = (ms: number) => new Date(clock.wall().getTime() + ms).toISOString();
  await each(membersOf(ips), async (ip) => {
    const spec = {
      format: 1,
      address: claimAddress(ip),
      purpose: "Hold" as const,
      reason: shrinkHoldReason,
      since: at(0),
      until: at(holdMs),
      pool: name,
      poolUID: uid,
      poolGeneration: generation,
    };
    const draft = { metadata: { name: claimName(ip), labels: claimLabels({ pool: name }) }, spec };
    await client.create(spiderIPAddresses, draft, o).catch((error: unknown) => {
      if (!hasReason(error, "AlreadyExists")) throw error;
    });
  });
}

/** Ends the holds that the watch shows. */
export async function endHolds({ client }: Deps, uses: PoolUses, pool: SpiderIPPool, ips: IpSet, o: Signal) {
  const claims = [...(uses.get(pool.metadata.name)?.claims ?? [])].filter(
    (claim) => isShrinkHold(claim) && ips.contains(claim.ip),
  );
  await each(claims, async ({ name, uid, resourceVersion }) => {
    await client.delete(spiderIPAddresses, { name }, { ...o, preconditions: { uid, resourceVersion } });
  });
}

function* membersOf(ips: IpSet): Generator<Ip> {
  for (let index = 0n; index < ips.size; index++) yield ips.nth(index) as Ip;
}

/** Writes a few items at a time. Tries all, then throws the first failure. */
async function each<T>(items: Iterable<T>, write: (item: T) => Promise<void>): Promise<void> {
  const left = [...items].values();
  const work = async () => {
    for (const item of left) await write(item);
  };
  const results = await Promise.allSettled(Array.from({ length: writesAtOnce }, work));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
