import { stringify } from "yaml";
import { formatTable, type OutputFormat } from "../output.ts";
import type { Loss, Plan, PoolChange, PoolCounts, Stuck } from "./state.ts";

/** The plan in the format asked for, ending in a newline. */
export function formatPlan(plan: Plan, format: OutputFormat): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(toJson(plan), undefined, 2)}\n`;
    case "yaml":
      return stringify(toJson(plan));
    case "name":
      return plan.pools.map(({ pool }) => `spiderippool.spiderpool.spidernet.io/${pool}\n`).join("");
    default:
      return formatText(plan);
  }
}

/** True if somebody would be worse off, or something is refused. */
export function isHarmful({ refused, losses, stuck, unmet, pools }: Plan): boolean {
  return refused.length + losses.length + stuck.length + unmet.length > 0 || pools.some(({ dry }) => dry);
}

/** Counts that are too large for numbers in JSON become texts. */
function toJson(plan: Plan) {
  const count = (n: bigint) => (n <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(n) : String(n));
  const counts = ({ total, used, free }: PoolCounts) => ({ total: count(total), used: count(used), free: count(free) });
  return {
    ...plan,
    pools: plan.pools.map(({ before, after, ...rest }) => ({
      ...rest,
      ...(before && { before: counts(before) }),
      ...(after && { after: counts(after) }),
    })),
  };
}

function formatText(plan: Plan): string {
  const { refused, unmet, pools, losses, stuck, notes } = plan;
  const parts = [
    section(
      "Refused:",
      refused.map(({ object, why }) => [object, why]),
    ),
    section("Pools:", pools.length === 0 ? [] : [poolHeader, ...pools.map(poolRow)]),
    section("Addresses that would go from their holders:", losses.map(lossRow)),
    section("Pods that could not have their addresses:", stuck.map(stuckRow)),
    section(
      "Applications that would not get what they ask for:",
      unmet.map((one) => [one]),
    ),
    section(
      "Not taken into account:",
      notes.map((one) => [one]),
    ),
  ].filter((part) => part !== "");
  if (isHarmful(plan)) return parts.join("\n");
  return ["Nobody loses an address, and every Pod can start.\n", ...parts].join("\n");
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const indented = formatTable(rows)
    .trimEnd()
    .split("\n")
    .map((line) => `  ${line.trimEnd()}\n`);
  return `${title}\n${indented.join("")}`;
}

const poolHeader = ["POOL", "", "TOTAL", "USED", "FREE"];

function poolRow({ pool, change, before, after, dry }: PoolChange): readonly string[] {
  const of = (key: keyof PoolCounts) => {
    const [was, is] = [before?.[key], after?.[key]];
    if (was === is) return String(is);
    return [was, is].filter((count) => count !== undefined).join(" → ");
  };
  return [pool, change, of("total"), of("used"), `${of("free")}${dry ? ", runs dry" : ""}`];
}

function lossRow({ address, pool, pod, why, when }: Loss): readonly string[] {
  return [address, pool, `Pod ${pod}`, `${when}: ${why}`];
}

function stuckRow({ pod, sticky, when, code, why }: Stuck): readonly string[] {
  return [`Pod ${pod}${sticky ? " (keeps its addresses)" : ""}`, `${when}: ${code}: ${why}`];
}
