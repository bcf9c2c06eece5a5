import {
  annotations,
  labels,
  labelValue,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  type SpiderIPPool,
  type SpiderReservedIP,
  type SpiderSubnet,
  spiderIPAddresses,
  spiderIPPools,
  spiderMultusConfigs,
  spiderReservedIPs,
  spiderSubnets,
} from "#api";
import { formatError, isJsonObject } from "#base";
import { eventTimeMs } from "#doctor";
import { type Family, IpSet, parseIpSet } from "#ip";
import { asksForOwner, type PoolView, poolView, subnetAnnotationKeys, workloadKindOf } from "#ipam";
import {
  type CoreEvent,
  controllerOf,
  events,
  type KubeClient,
  type KubeObject,
  keyOf,
  metadataOf,
  namespaces,
  nodes,
  type Pod,
  pods,
  type Resource,
  TopControllers,
} from "#kube";
import { type Claim, claimOf } from "#ledger";
import type { Cluster } from "../cluster.ts";
import type { Manifest } from "../manifests.ts";
import type { ClusterFacts, Facts, Subject, Usage } from "./facts.ts";
import { findInstallation } from "./installation.ts";
import type { PodManifest } from "./manifest.ts";
import { subjectOf, subjectOfManifest } from "./subject.ts";

/** How long a Pod that is gone is known: API servers keep Events for an hour by default. */
const rememberedMs = 3_600_000;

/** A Pod by name, or one of a manifest, with the objects of its file on which its networks may depend. */
export type Target =
  | { readonly namespace: string; readonly name: string }
  | { readonly manifest: PodManifest; readonly beside: readonly Manifest[] };

/** Reads what is the same for every Pod. Throws the API server's errors. */
export async function gatherCluster(cluster: Cluster, signal: AbortSignal): Promise<ClusterFacts> {
  const { client, clock } = cluster;
  const all = <T extends KubeObject>(resource: Resource<T>) => Array.fromAsync(client.listAll(resource, { signal }));
  const [poolObjects, subnets, reservations, nads, configs, nodeList, installation] = await Promise.all([
    all<SpiderIPPool>(spiderIPPools),
    all<SpiderSubnet>(spiderSubnets),
    all<SpiderReservedIP>(spiderReservedIPs),
    all<NetworkAttachmentDefinition>(networkAttachmentDefinitions),
    all(metadataOf(spiderMultusConfigs)),
    all(nodes),
    findInstallation(cluster, signal),
  ]);
  const networkOf = ({ metadata }: KubeObject) =>
    keyOf({ ...metadata, name: metadata.annotations?.[annotations.networkName] ?? metadata.name });
  return {
    now: clock.wall(),
    nodes: new Map(nodeList.map((node) => [node.metadata.name, node])),
    wantedNads: new Set(configs.map(networkOf)),
    nads: new Map(nads.map((nad) => [keyOf(nad.metadata), nad])),
    ...decodePools(poolObjects),
    poolObjects: new Map(poolObjects.map((pool) => [pool.metadata.name, pool])),
    reservations,
    reserved: reservedBy(reservations),
    subnets: new Map(subnets.map((subnet) => [subnet.metadata.name, subnet])),
    installation,
  };
}

/** Adds what a diagnosis of this Pod needs, except the claims. Throws the API server's errors. */
export async function gatherFacts(
  target: Target,
  everywhere: Promise<ClusterFacts>,
  { client, clock }: Cluster,
  signal: AbortSignal,
): Promise<Facts> {
  const named = "manifest" in target ? target.manifest.metadata : target;
  const [stored, told, namespace, shared] = await Promise.all([
    "manifest" in target ? undefined : client.get(pods, target, { signal }),
    "manifest" in target ? [] : podEvents(client, target, clock.wall(), signal),
    client.get(namespaces, { name: named.namespace }, { signal }),
    everywhere,
  ]);
  const manifest = "manifest" in target ? target.manifest : undefined;
  const pod = "manifest" in target ? subjectOfManifest(target.manifest) : subjectOf(target, stored, told);
  const owner =
    manifest === undefined ? stored && (await ownerOf(stored, shared.pools, client, signal)) : manifest.owner;
  return {
    ...shared,
    pod,
    namespace,
    ...(await applicationOf({ manifest, owner, pod }, client, signal)),
    beside: { counted: [], refused: [] },
    // Events of a former Pod with the same name are left out.
    events: stored === undefined ? told : told.filter(({ involvedObject: { uid } }) => isOf(uid, stored)),
  };
}

/** Reads the claims on addresses of pools, each pool's once. */
export class UsageReader {
  readonly #client: KubeClient;
  readonly #claims = new Map<string, Promise<readonly Claim[]>>();

  constructor({ client }: Cluster) {
    this.#client = client;
  }

  /** Throws the API server's errors. */
  async read(names: Iterable<string>, signal: AbortSignal): Promise<Usage> {
    const read = async (pool: string): Promise<readonly [string, readonly Claim[]]> => {
      const claims = this.#claims.get(pool) ?? this.#list(pool, signal);
      this.#claims.set(pool, claims);
      return [pool, await claims];
    };
    return new Map(await Promise.all(Array.from(new Set(names), read)));
  }

  async #list(pool: string, signal: AbortSignal): Promise<readonly Claim[]> {
    const labelSelector = `${labels.claimPool}=${labelValue(pool)}`;
    const objects = await Array.fromAsync(this.#client.listAll(spiderIPAddresses, { signal, labelSelector }));
    return objects.flatMap((object) => claimOf(object) ?? []);
  }
}

function isOf(uid: string | undefined, { metadata }: Pod): boolean {
  return uid === undefined || uid === metadata.uid;
}

async function podEvents(
  client: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  now: Date,
  signal: AbortSignal,
): Promise<readonly CoreEvent[]> {
  const fieldSelector = `involvedObject.kind=Pod,involvedObject.name=${name}`;
  const found = await Array.fromAsync(client.listAll(events, { namespace, signal, fieldSelector }));
  return found
    .filter((event) => now.getTime() - eventTimeMs(event) < rememberedMs)
    .toSorted(
      (a, b) =>
        eventTimeMs(a) - eventTimeMs(b) || Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion),
    );
}

/** The pools as selection sees them, and why others cannot be decoded. */
export function decodePools(objects: readonly SpiderIPPool[]): Pick<Facts, "pools" | "brokenPools"> {
  const pools = new Map<string, PoolView>();
  const brokenPools = new Map<string, string>();
  for (const object of objects) {
    try {
      pools.set(object.metadata.name, poolView(object));
    } catch (error) {
      brokenPools.set(object.metadata.name, formatError(error));
    }
  }
  return { pools, brokenPools };
}

/** The reserved addresses of a family, as the agent counts them: a reservation that cannot be decoded reserves nothing. */
export function reservedBy(objects: readonly SpiderReservedIP[]): Facts["reserved"] {
  const texts = objects.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(({ spec }) => spec.ips);
  return (family) => texts.reduce((set, ips) => set.union(readable(ips ?? [], family)), IpSet.empty(family));
}

function readable(ips: readonly string[], family: Family): IpSet {
  try {
    return parseIpSet(
      ips.filter((text) => text.includes(":") === (family === 6)),
      family,
    );
  } catch {
    return IpSet.empty(family);
  }
}

/** The application that made the Pod, or would make it, with the facts on which its pools of SpiderSubnets depend. */
async function applicationOf(
  {
    manifest,
    owner,
    pod,
  }: { readonly manifest: PodManifest | undefined; readonly owner: Facts["owner"]; readonly pod: Subject },
  client: KubeClient,
  signal: AbortSignal,
): Promise<Pick<Facts, "owner" | "workload">> {
  const { subnet, subnets } = subnetAnnotationKeys;
  const isCut = pod.annotations[subnet] !== undefined || pod.annotations[subnets] !== undefined;
  const resource = owner && workloadKindOf(owner)?.resource;
  if (owner === undefined || resource === undefined || !isCut) return { owner, workload: undefined };
  const there = await client.get(resource, owner, { signal });
  if (manifest === undefined) return { owner, workload: there };
  // A manifest of an existing application: the application's pools go by its UID.
  const { uid = "", resourceVersion = "" } = there?.metadata ?? {};
  const metadata = { namespace: owner.namespace, name: owner.name, uid, resourceVersion };
  const spec: unknown = Reflect.get(manifest.workload ?? {}, "spec");
  // The API server's default; other kinds have no such field.
  return {
    owner: { ...owner, uid },
    workload: { metadata, spec: { replicas: 1, ...(isJsonObject(spec) ? spec : {}) } },
  };
}

async function ownerOf(
  stored: Pod,
  pools: ReadonlyMap<string, PoolView>,
  client: KubeClient,
  signal: AbortSignal,
): Promise<Facts["owner"]> {
  const isOwned = controllerOf(stored) !== undefined;
  // Fixes must change the template, not the Pod: so the owner is needed even if selection does not ask for it.
  return isOwned || asksForOwner(stored.metadata, pools.values())
    ? new TopControllers(client).of(stored, { signal })
    : undefined;
}
