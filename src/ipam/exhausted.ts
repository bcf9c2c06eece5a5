import type { Family } from "#ip";
import { listed } from "./format.ts";
import type { PoolView } from "./pool.ts";
import { subnetAnnotationKeys } from "./subnet-annotations.ts";

/** How many addresses of a pool are claimed although no Pod has them. */
export interface SetAside {
  /** Somebody outside the cluster may use them. */
  readonly quarantined: number;
  /** When the first of these ends, if that is known. */
  readonly quarantinedUntil?: string | undefined;
  /** Held, for example because the pool is about to lose them. */
  readonly held: number;
}

/** A pool that has no address left. */
export interface Shortage {
  readonly pool: Pick<PoolView, "name" | "set" | "auto">;
  /** How many addresses it has, less the reserved ones. */
  readonly allowed: bigint;
  /** As it is known here, which may be a moment behind. */
  readonly aside?: SetAside | undefined;
}

/** The sentence about pools that have no address left, and what to do about it. */
export function formatExhausted(
  nic: string,
  family: Family,
  exhausted: readonly Shortage[],
): { readonly message: string; readonly fix: string } {
  const names = exhausted.map(({ pool }) => pool.name);
  const counts = exhausted.map(formatShortage);
  return {
    message: `failed to allocate any IPv${family} IP address to NIC ${nic} from IPPools [${listed(names, " ")}]: all IP addresses used out: ${listed(counts, "; ")}`,
    fix: fixOf(exhausted[0]),
  };
}

/** Where all addresses of a pool are, in one sentence. */
export function formatShortage(shortage: Shortage): string {
  const { pool, allowed } = shortage;
  const { used, quarantined, held, reserved } = countsOf(shortage);
  const rest = reserved === 0n ? "" : ` (${reserved} ${allowed === 0n ? "" : "more "}reserved)`;
  if (allowed === 0n) return `IPPool ${pool.name} has no address to hand out${rest}`;
  const all = `all ${allowed} addresses of IPPool ${pool.name} are`;
  if (quarantined + held === 0n) return `${all} in use${rest}`;
  const until = shortage.aside?.quarantinedUntil;
  const end = until === undefined ? "" : quarantined === 1n ? ` until ${until}` : ` (the first until ${until})`;
  const states = [
    ...(used > 0n ? [`${used} in use`] : []),
    ...(quarantined > 0n ? [`${quarantined} in quarantine${end}`] : []),
    ...(held > 0n ? [`${held} held`] : []),
  ];
  return `${all} taken: ${states.join(", ")}${rest}`;
}

/** Counts of addresses that differ in what frees them. What is known of those set aside may be of another time than the rest. */
function countsOf({ pool, allowed, aside }: Shortage) {
  const quarantined = least(BigInt(aside?.quarantined ?? 0), allowed);
  const held = least(BigInt(aside?.held ?? 0), allowed - quarantined);
  return { used: allowed - quarantined - held, quarantined, held, reserved: pool.set.size - allowed };
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** What to do about the pool that was tried first. */
function fixOf(shortage: Shortage | undefined): string {
  if (shortage === undefined) return "name an IPPool in the Pod's annotation";
  const { name } = shortage.pool;
  const { used, quarantined, held, reserved } = countsOf(shortage);
  const show = `spiderpoolctl ip show --pool ${name}`;
  const ways = [
    ...(shortage.pool.auto
      ? [
          `ask for more in the Pod template's annotation '${subnetAnnotationKeys.ipNumber}': IPPool ${name} is its application's, and its spec.ips follow that alone`,
        ]
      : [`add addresses to spec.ips of IPPool ${name}`, "name a further IPPool in the Pod's annotation"]),
    ...(shortage.allowed === 0n && reserved > 0n ? ["take addresses out of the SpiderReservedIPs"] : []),
    ...(quarantined > 0n && used + held === 0n ? [`see why its addresses are in quarantine: ${show}`] : []),
    ...(used + held > 0n ? [`free addresses of it: ${show} says who has them`] : []),
  ];
  const last = ways.pop() ?? "";
  return ways.length === 0 ? last : `${ways.join(", ")}, or ${last}`;
}
