import type { Manifest } from "../manifests.ts";
import { admit } from "../plan/admit.ts";
import { World } from "../plan/world.ts";
import type { Facts } from "./facts.ts";
import { decodePools, reservedBy } from "./gather.ts";

const deciding: ReadonlySet<string> = new Set([
  ...["SpiderIPPool", "SpiderSubnet", "SpiderReservedIP", "SpiderMultusConfig"],
  ...["NetworkAttachmentDefinition", "Namespace", "Node"],
]);

/** Whether the networks of Pods may depend on the object. */
export function isDeciding({ kind = "" }: Manifest): boolean {
  return deciding.has(kind);
}

/**
 * The facts as they would be once the whole file of the Pod is applied, by the rules of admission: pools, subnets,
 * reservations, networks, namespaces and nodes of the file, all with names, over those of the cluster. Addresses in use do not
 * keep a pool from losing them here: `plan` asks for that. `namespace`: of objects that name none.
 */
export function countFileIn(facts: Facts, applied: readonly Manifest[], namespace: string): Facts {
  if (applied.length === 0) return facts;
  const world = new World({
    pools: [...facts.poolObjects.values()],
    subnets: [...facts.subnets.values()],
    reservations: facts.reservations,
    namespaces: facts.namespace === undefined ? [] : [facts.namespace],
    nodes: [...facts.nodes.values()],
    nads: [...facts.nads.values()],
    installation: facts.installation,
    claims: [],
    pods: [],
    workloads: [],
  });
  const counted: string[] = [];
  const refused: string[] = [];
  for (const manifest of applied) {
    const { kind = "", metadata } = manifest;
    const said = `${kind} ${metadata.name}`;
    const admitted = admit(world, { applied: [manifest], deleted: [] }, namespace);
    const [refusal] = admitted.refused;
    if (refusal !== undefined) refused.push(`${said}: ${refusal.why}`);
    else if (admitted.ignored.length > 0) refused.push(`${said}: there is no such kind in ${manifest.apiVersion}`);
    else counted.push(said);
  }
  const reservations = [...world.reservations.values()];
  return {
    ...facts,
    ...decodePools([...world.pools.values()]),
    nodes: world.nodes,
    nads: world.nads,
    subnets: world.subnets,
    poolObjects: world.pools,
    reservations,
    namespace: world.namespaces.get(facts.pod.namespace),
    reserved: reservedBy(reservations),
    beside: { counted, refused },
  };
}
