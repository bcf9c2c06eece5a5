import type { Family } from "#ip";
import type { Evidence } from "./choice.ts";
import { listed } from "./format.ts";
import type { PoolView } from "./pool.ts";

/** The sentence about pools that have no address left, and what to do about it. */
export function formatExhausted(
  nic: string,
  family: Family,
  exhausted: readonly { readonly pool: PoolView; readonly evidence: Evidence }[],
): { readonly message: string; readonly fix: string } {
  const names = exhausted.map(({ pool }) => pool.name);
  const counts = exhausted.map(({ pool, evidence }) =>
    evidence.allowed === 0n
      ? `IPPool ${pool.name} has no address to hand out`
      : `all ${evidence.allowed} addresses of IPPool ${pool.name} are in use`,
  );
  return {
    message: `failed to allocate any IPv${family} IP address to NIC ${nic} from IPPools [${listed(names, " ")}]: all IP addresses used out: ${listed(counts, "; ")}`,
    fix: `add addresses to spec.ips of IPPool ${names[0] ?? ""}, name a further IPPool in the Pod's annotation, or free addresses of it: spiderpoolctl ip show --pool ${names[0] ?? ""} says who has them`,
  };
}
