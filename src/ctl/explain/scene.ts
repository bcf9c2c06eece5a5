import { isJsonObject, type JsonObject } from "#base";
import { type SelectionInput, selectionFacts } from "#ipam";
import { type Holder, stickyOwnerOf } from "#ledger";
import { netAttachDefOf, slotOf } from "#multus";
import type { Facts, Installation, Subject } from "./facts.ts";

/** The facts on which a Pod's networks and their pools depend. */
export type PodScene = Pick<
  Facts,
  "pod" | "namespace" | "nodes" | "nads" | "pools" | "brokenPools" | "owner" | "installation"
>;

/** The input for the selection of a NIC's pools on a node. */
export function selectionOf(
  facts: PodScene,
  node: string,
  nic: string,
  network: SelectionInput["network"] = { pools: { 4: [], 6: [] }, cleanGateway: false },
): SelectionInput {
  const { pod, installation, pools, brokenPools, owner } = facts;
  return {
    nic,
    slot: slotOf(nic, pod),
    families: installation.families,
    ...selectionFacts({
      pod,
      namespace: facts.namespace?.metadata,
      node: facts.nodes.get(node)?.metadata,
      nodeName: node,
    }),
    owner,
    pools,
    brokenPools,
    network,
    netAttachDef: netAttachDefOf(nic, pod, installation),
    agentNamespace: installation.namespace,
    masterAddresses: undefined,
    settings: installation.settings,
  };
}

/** The holder of one NIC's addresses, now or by inheritance. */
export function holderOf(
  { namespace, name, uid, ownerReferences }: Pick<Subject, "namespace" | "name" | "uid" | "ownerReferences">,
  nic: string,
  { settings }: Pick<Installation, "settings">,
): Holder {
  const kept = stickyOwnerOf({ metadata: { namespace, name, uid, ownerReferences, resourceVersion: "" } }, settings);
  const { owner, sticky } = kept ?? {};
  return { pod: { namespace, name, uid }, nic, containerId: "", network: "", ...(kept && { owner, sticky }) };
}

/** True for the configuration of a plugin whose addresses come from IPPools. */
export function isManaged({ ipam }: JsonObject): boolean {
  return isJsonObject(ipam) && ipam["type"] === "spiderpool";
}
