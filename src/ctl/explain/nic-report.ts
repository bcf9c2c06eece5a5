import { SpiderError } from "#base";
import { type Family, formatIp, IpSet } from "#ip";
import {
  type Decision,
  decide,
  formatExhausted,
  formatShortage,
  formatVerdict,
  networkPools,
  parseRoutesAnnotation,
  type Rejection,
  type Shortage,
} from "#ipam";
import { type Claim, isHeir, isMine, setAsideOf } from "#ledger";
import type { Delegate } from "#multus";
import { type PendingPool, pendingPools } from "./auto-pools.ts";
import type { Facts, Usage } from "./facts.ts";
import { holderOf, isManaged, selectionOf } from "./scene.ts";

/** How selection judges one pool. */
interface PoolReport {
  readonly pool: string;
  readonly family: Family;
  /** `free`: it has addresses; `used`: it has none left; `passed`: it may not be used here. */
  readonly state: "free" | "used" | "passed";
  /** Why, in one sentence. */
  readonly reason: string;
  readonly rejection?: Rejection;
}

/** How one NIC gets its addresses, or would. */
export interface NicReport {
  readonly nic: string;
  /** The name of its network as in the Pod's Events. */
  readonly network: string;
  /** Whether its addresses come from IPPools. */
  readonly managed: boolean;
  readonly decisions: readonly Decision[];
  readonly pools: readonly PoolReport[];
  /** Why the ADD would fail at this NIC. */
  readonly problem?: unknown;
}

/** Reports on the NIC that a network makes. Never throws. */
export function nicReport(facts: Facts, usage: Usage, node: string, delegate: Delegate): NicReport {
  const { ifName: nic, displayName: network } = delegate;
  const config = delegate.network.plugins.map(({ raw }) => raw).find(isManaged);
  const bare = { nic, network, managed: config !== undefined };
  if (config === undefined) return { ...bare, decisions: [], pools: [] };
  try {
    const decisions = decide(selectionOf(facts, node, nic, networkPools(config)));
    const pending = pendingPools(facts, nic, decisions);
    if (pending.length > 0) return { ...bare, decisions, ...pendingReport(facts, decisions, pending) };
    const pools = decisions.flatMap((decision) => poolReports(facts, usage, nic, decision));
    const problem = problemOf(facts, usage, nic, { decisions, pools });
    return { ...bare, decisions, pools, ...(problem && { problem }) };
  } catch (problem) {
    return { ...bare, decisions: [], pools: [], problem };
  }
}

/** Reports on a NIC whose pools the controller has yet to make: a problem if it cannot, or if the Pod waits for them already. */
function pendingReport(
  { pod }: Facts,
  decisions: readonly Decision[],
  pending: readonly PendingPool[],
): Pick<NicReport, "pools" | "problem"> {
  const stuck = pending.flatMap(({ subnet, why }) => (why === undefined ? [] : [`SpiderSubnet ${subnet} ${why}`]));
  if (stuck.length > 0 || pod.state !== "new") return { pools: [], problem: refusalOf(decisions, stuck.join("; ")) };
  const pools = pending.map(({ name, family, subnet, size }): PoolReport => {
    const count = size === undefined ? "" : `, ${size} addresses`;
    return { pool: name, family, state: "free", reason: `the controller makes it from SpiderSubnet ${subnet}${count}` };
  });
  return { pools };
}

function poolReports(facts: Facts, usage: Usage, nic: string, decision: Decision): readonly PoolReport[] {
  const { family, steps } = decision;
  if (family === undefined) return [];
  const reports = steps.map((step): PoolReport => {
    const { pool } = step;
    if (!step.accepted) return { pool, family, state: "passed", reason: formatVerdict(step), rejection: step };
    const own = ownClaims(facts, usage, nic, pool);
    if (own.length > 0) {
      const kept = own.map(({ ip }) => formatIp(ip)).join(", ");
      return {
        pool,
        family,
        state: "free",
        reason: `${kept} is ${facts.pod.state === "running" ? "its own" : "kept for it"}`,
      };
    }
    const { allowed, free } = roomOf(facts, usage, pool);
    if (free > 0n) return { pool, family, state: "free", reason: `${free} of ${allowed} addresses are free` };
    const reason = shortagesOf(facts, usage, [pool]).map(formatShortage).join();
    return { pool, family, state: "used", reason };
  });
  if (decision.outcome.kind === "candidates") return inOrderOf(decision.outcome.pools, reports);
  return reports;
}

/** The candidates in the order in which the agent tries them, then the pools that it passes over. */
function inOrderOf(names: readonly string[], reports: readonly PoolReport[]): readonly PoolReport[] {
  const tried = names.flatMap((name) => reports.find(({ pool }) => pool === name) ?? []);
  return [...tried, ...reports.filter((one) => !tried.includes(one))];
}

/** How many addresses the pool may hand out, and how many of them have no claim. */
function roomOf(
  { pools, reserved }: Pick<Facts, "pools" | "reserved">,
  usage: Usage,
  pool: string,
): { readonly allowed: bigint; readonly free: bigint } {
  const view = pools.get(pool);
  if (view === undefined) return { allowed: 0n, free: 0n };
  const allowed = view.set.subtract(reserved(view.family));
  const used = IpSet.ofIps(
    view.family,
    (usage.get(pool) ?? []).map(({ ip }) => ip),
  );
  return { allowed: allowed.size, free: allowed.subtract(used).size };
}

/**
 * The claims of the pool that an ADD would use again: the Pod's own while it waits, and those that it keeps or inherits as part
 * of a StatefulSet or virtual machine. A running Pod's other claims do not count: the report is about the next Pod like it.
 */
function ownClaims(facts: Facts, usage: Usage, nic: string, pool: string): readonly Claim[] {
  const holder = holderOf(facts.pod, nic, facts.installation);
  const isOwn = ({ spec }: Claim) => isHeir(spec, holder) || (facts.pod.state === "waiting" && isMine(spec, holder));
  return (usage.get(pool) ?? []).filter(isOwn);
}

/** The first problem of the NIC, in the order in which the agent would find them. */
function problemOf(
  facts: Facts,
  usage: Usage,
  nic: string,
  { decisions, pools: reports }: Pick<NicReport, "decisions" | "pools">,
): SpiderError | undefined {
  const refusal = refusalOf(decisions);
  if (refusal !== undefined) return refusal;
  parseRoutesAnnotation(facts.pod.annotations);
  for (const { family, outcome } of decisions) {
    if (family === undefined || outcome.kind === "refused") continue;
    const isUsedUp = outcome.pools.every((name) =>
      reports.some(({ pool, state, family: of }) => pool === name && of === family && state === "used"),
    );
    if (!isUsedUp) continue;
    const { message, fix } = formatExhausted(nic, family, shortagesOf(facts, usage, outcome.pools));
    return new SpiderError("POOL_EXHAUSTED", message, { details: { fix } });
  }
  return undefined;
}

/** The agent's refusal, if there is one; `fix` replaces the agent's advice. */
function refusalOf(decisions: readonly Decision[], fix = ""): SpiderError | undefined {
  for (const { outcome } of decisions) {
    if (outcome.kind !== "refused") continue;
    return new SpiderError(outcome.code, outcome.message, { details: { fix: fix || outcome.fix } });
  }
  return undefined;
}

function shortagesOf(facts: Facts, usage: Usage, names: readonly string[]): readonly Shortage[] {
  return names.flatMap((name) => {
    const pool = facts.pools.get(name);
    if (pool === undefined) return [];
    const allowed = pool.set.subtract(facts.reserved(pool.family));
    return [{ pool, allowed: allowed.size, aside: setAsideOf(usage.get(name) ?? [], allowed) }];
  });
}
