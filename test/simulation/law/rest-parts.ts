import { labels, parseControlledIPPools, type SpiderSubnet } from "#api";
import { formatIpSet, type IpSet, parseIpSet } from "#ip";
import { deploymentOf, deploymentTable, sizeWanted, subnetName } from "../cluster/applications.ts";
import type { KubeObject, Server } from "../cluster/server.ts";
import { specOf } from "./law.ts";
import { setOf } from "./parts.ts";
import { claimTable, poolTable, subnetTable } from "./tables.ts";
import { Violation } from "./violation.ts";

/** What must hold of a subnet and its applications when nothing has happened for long. Throws the first {@link Violation}. */
export function checkParts(server: Server): void {
  const subnet = server.get(subnetTable, { name: subnetName });
  if (subnet === undefined) return;
  for (const { metadata, ...rest } of server.store.list(claimTable)) {
    if (specOf({ metadata, ...rest } as KubeObject).purpose !== "Hold") continue;
    throw new Violation("what is held ends with the reason for it", metadata.name);
  }
  const pools = partPools(server);
  for (const pool of pools) {
    const { name, labels: of = {} } = pool.metadata;
    const uid = of[labels.ownerApplicationUid];
    const lives = server.store.list(deploymentTable).some(({ metadata }) => metadata.uid === uid);
    if (lives || of[labels.poolReclaim] !== "true" || claimsOf(server, pool).length > 0) continue;
    throw new Violation("the pool of an application goes with it", name);
  }
  const { status } = subnet as unknown as SpiderSubnet;
  const told = parseControlledIPPools(status?.controlledIPPools) ?? {};
  const names = new Set([...Object.keys(told), ...pools.map(({ metadata }) => metadata.name)]);
  for (const name of names) {
    const pool = pools.find(({ metadata }) => metadata.name === name);
    const part = formatIpSet(parseIpSet(told[name]?.ips ?? [], 4));
    const set = pool === undefined ? "" : formatIpSet(setOf(pool));
    if (`${part}` === `${set}`) continue;
    throw new Violation("a subnet tells the parts that its pools have", `${name}: [${part}], not [${set}]`);
  }
  for (const deployment of server.store.list(deploymentTable)) checkSize(server, subnet, deployment);
}

/** An application has the pool that it asks for, if the subnet has the addresses, and no Pod is in the way. */
function checkSize(server: Server, subnet: KubeObject, deployment: KubeObject): void {
  const pool = poolOf(server, deployment);
  const size = pool === undefined ? 0n : setOf(pool).size;
  const wanted = BigInt(sizeWanted(deployment));
  if (size === wanted && (pool !== undefined || wanted === 0n)) return;
  if (pool !== undefined && size > wanted && BigInt(claimsOf(server, pool).length) > wanted) return;
  const left = partPools(server).reduce<IpSet>((free, one) => free.subtract(setOf(one)), setOf(subnet)).size;
  if (size < wanted && left < wanted - size) return;
  throw new Violation(
    "an application has the pool that it asks for",
    `${deployment.metadata.name} has ${size} of ${wanted} addresses, and ${left} are left in the subnet`,
  );
}

/** How many addresses are free for the Pod of an application; undefined: the Pod is of no application that is there. */
export function freeForPod(server: Server, pod: KubeObject): bigint | undefined {
  const deployment = deploymentOf(server, pod);
  const pool = deployment && poolOf(server, deployment);
  if (pool === undefined) return undefined;
  return setOf(pool).size - BigInt(claimsOf(server, pool).length);
}

function partPools({ store }: Server): readonly KubeObject[] {
  return store.list(poolTable).filter(({ metadata }) => metadata.labels?.[labels.ownerSubnet] === subnetName);
}

function poolOf(server: Server, { metadata: { uid } }: KubeObject): KubeObject | undefined {
  return partPools(server).find(
    ({ metadata }) => metadata.labels?.[labels.ownerApplicationUid] === uid && metadata.deletionTimestamp === undefined,
  );
}

function claimsOf({ store }: Server, pool: KubeObject): readonly KubeObject[] {
  return store.list(claimTable).filter((claim) => {
    const { poolUID, address } = specOf(claim);
    return poolUID === pool.metadata.uid || setOf(pool).contains(parseIpSet([address], 4).first as never);
  });
}
