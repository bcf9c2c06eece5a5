import { networkAttachmentDefinitions, spiderIPAddresses, spiderIPPools, spiderReservedIPs, spiderSubnets } from "#api";
import { type WorkloadKind, workloadKinds } from "#ipam";
import { apiVersionOf, type KubeObject, namespaces, nodes, pods, type Resource } from "#kube";
import { claimOf } from "#ledger";
import type { Cluster } from "../cluster.ts";
import { findInstallation } from "../explain/installation.ts";
import type { State, StoredWorkload } from "./state.ts";

/** Reads all that a plan depends on; writes nothing. Throws what the API server answers. */
export async function gatherState(cluster: Pick<Cluster, "client" | "mounted">, signal: AbortSignal): Promise<State> {
  const { client } = cluster;
  const all = <T extends KubeObject>(resource: Resource<T>) => Array.fromAsync(client.listAll(resource, { signal }));
  const allOf = async ({ resource }: WorkloadKind) => {
    const of = { apiVersion: apiVersionOf(resource), kind: resource.kind };
    return (await all(resource)).map((one): StoredWorkload => ({ ...one, ...of }));
  };
  // Claims before Pods: a claim without a Pod is then one whose Pod is gone.
  const [installation, pools, subnets, reservations, claims] = await Promise.all([
    findInstallation(cluster, signal),
    all(spiderIPPools),
    all(spiderSubnets),
    all(spiderReservedIPs),
    all(spiderIPAddresses),
  ]);
  return {
    installation,
    pools,
    subnets,
    reservations,
    claims: claims.flatMap((one) => claimOf(one) ?? []),
    workloads: (await Promise.all(workloadKinds.map(allOf))).flat(),
    pods: await all(pods),
    namespaces: await all(namespaces),
    nodes: await all(nodes),
    nads: await all(networkAttachmentDefinitions),
  };
}
