import { type SpiderEndpoint, type SpiderIPPool, spiderEndpoints, spiderIPPools } from "#api";
import { type Clock, type Signal, SpiderError } from "#base";
import type { Disagreement } from "#doctor";
import { claimName, formatIp, tryParseIp } from "#ip";
import { type KubeClient, keyOf, pods } from "#kube";
import type { Claim } from "#ledger";
import { disagreements, type Observed, type Read } from "./compare.ts";
import { listReader } from "./observe.ts";

/** Owners whose Pods keep their addresses in the original Spiderpool. */
const stickyOwners: ReadonlySet<string> = new Set(["StatefulSet", "VirtualMachine", "VirtualMachineInstance"]);

/**
 * The same comparison in a cluster that still runs the original Spiderpool, whose records are in the pools' status. Only reads.
 * Throws the API server's errors.
 */
export async function upstreamDisagreements(
  client: KubeClient,
  clock: Clock,
  { signal }: Signal,
): Promise<readonly Disagreement[]> {
  const read = listReader(client, clock, { signal });
  const [endpoints, pools] = [await read(spiderEndpoints), await read(spiderIPPools)];
  const found = await read(pods);
  const records = { readAt: pools.readAt, items: pools.items.flatMap((pool) => recordsOf(pool, endpoints.items)) };
  const observed: Observed = { claims: records, pods: found, endpoints, pools };
  return [...disagreements(observed), ...recordedTwice(records)];
}

/** The records of one pool, each as the claim that it will become. Throws OPTIONS_INVALID if they are invalid. */
function recordsOf(pool: SpiderIPPool, endpoints: readonly SpiderEndpoint[]): readonly Claim[] {
  const { name, uid, generation = 0 } = pool.metadata;
  const sticky = new Set(
    endpoints
      .filter(({ status }) => stickyOwners.has(status.ownerControllerType ?? ""))
      .map(({ metadata }) => keyOf(metadata)),
  );
  return Object.entries(decode(name, pool.status?.allocatedIPs)).flatMap(([address, { pod, podUid }]) => {
    const ip = tryParseIp(address);
    const [podNamespace = "", podName = ""] = pod.split("/");
    if (ip === undefined) return [];
    const purpose = sticky.has(pod) ? "Sticky" : "Pod";
    const of = { pool: name, poolUID: uid, poolGeneration: generation, podNamespace, podName, podUID: podUid };
    const spec = { format: 1, address: formatIp(ip), purpose, ...of } as const;
    return [{ name: claimName(ip), ip, uid: `${uid}/${address}`, resourceVersion: "", spec }];
  });
}

interface AllocationRecord {
  readonly pod: string;
  readonly podUid: string;
}

function decode(pool: string, text = "{}"): Readonly<Record<string, AllocationRecord>> {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null) {
      const entries = Object.entries(found as Record<string, Partial<AllocationRecord> | null>);
      return Object.fromEntries(
        entries.map(([ip, record]) => [ip, { pod: String(record?.pod ?? ""), podUid: String(record?.podUid ?? "") }]),
      );
    }
  } catch {
    // Reported below.
  }
  throw new SpiderError(
    "OPTIONS_INVALID",
    `status.allocatedIPs of SpiderIPPool ${pool} is not what Spiderpool writes`,
    {
      details: { found: text.slice(0, 80), allowed: '{"ADDRESS":{"pod":"NAMESPACE/NAME","podUid":"UID"}}' },
    },
  );
}

/** One address in the records of two pools, which is impossible with one claim per address. */
function recordedTwice({ items, readAt }: Read<Claim>): readonly Disagreement[] {
  const first = new Map<string, Claim>();
  return items.flatMap((claim): readonly Disagreement[] => {
    const other = first.get(claim.name);
    if (other === undefined) first.set(claim.name, claim);
    if (other === undefined) return [];
    const said = ({ spec }: Claim) => ({
      text: `IPPool ${spec.pool} has it for Pod ${spec.podNamespace}/${spec.podName}`,
      readAt,
    });
    const object = formatIp(claim.ip);
    return [
      {
        kind: "one-address-twice",
        object,
        key: `one-address-twice ${object} pools`,
        one: said(other),
        other: said(claim),
      },
    ];
  });
}
