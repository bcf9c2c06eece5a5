import { isDeepStrictEqual } from "node:util";
import { formatControlledIPPools, type SpiderSubnet, spiderSubnets } from "#api";
import type { Signal } from "#base";
import type { SubnetPlan, Unmet } from "#ipam";
import type { Deps } from "../deps.ts";
import { rawInteger, since } from "../status-fields.ts";

/** Writes which pool has which part of the subnet into its status. False if the status says so already. */
export async function writeStatus(
  { client, clock }: Pick<Deps, "client" | "clock">,
  { metadata, status = {} }: SpiderSubnet,
  plan: SubnetPlan,
  o: Signal,
): Promise<boolean> {
  const { name, resourceVersion } = metadata;
  const text = formatControlledIPPools(plan.controlled);
  const conditions = since(conditionsOf(plan.unmet), status.conditions, clock.wall());
  const isSame =
    text === status.controlledIPPools &&
    Number(plan.total) === status.totalIPCount &&
    Number(plan.allocated) === status.allocatedIPCount &&
    isDeepStrictEqual(conditions, status.conditions ?? []);
  if (isSame) return false;
  const body = {
    metadata: { resourceVersion },
    status: {
      controlledIPPools: text ?? null,
      totalIPCount: rawInteger(plan.total),
      allocatedIPCount: rawInteger(plan.allocated),
      conditions: conditions.length === 0 ? null : conditions,
    },
  };
  await client.patch(spiderSubnets, { name }, { kind: "merge", body }, { ...o, subresource: "status" });
  return true;
}

function conditionsOf(unmet: readonly Unmet[]) {
  const [first] = unmet;
  if (first === undefined) return [];
  const more = unmet.length === 1 ? "" : ` (and ${unmet.length - 1} more)`;
  const type = "InsufficientIPs" as const;
  return [{ type, reason: "SubnetExhausted", message: `${first.message}${more}`.slice(0, 4_096) }];
}
