import { addressBits, formatPrefix, networkOf, tryParseIp, tryParsePrefix } from "#ip";
import { isTerminating, withFinalizer } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderCoordinator } from "./types.ts";

/** Defaults of a SpiderCoordinator. `podCIDRType` has none and is required. */
export const coordinatorDefaults = {
  mode: "auto",
  tunePodRoutes: true,
  hostRuleTable: 500,
  podRPFilter: 0,
  txQueueLen: 0,
  vethLinkAddress: "",
  vethMTU: 1500,
} as const;

/** Fills in, at every create and update: finalizer and defaults. Writes single addresses as CIDRs. */
export function defaultCoordinator(coordinator: SpiderCoordinator): SpiderCoordinator;
export function defaultCoordinator(coordinator: Submitted<SpiderCoordinator>): Submitted<SpiderCoordinator>;
export function defaultCoordinator(coordinator: Submitted<SpiderCoordinator>): Submitted<SpiderCoordinator> {
  if (isTerminating(coordinator)) return coordinator;
  const { hijackCIDR, policyRoutes } = coordinator.spec;
  return {
    ...coordinator,
    metadata: withFinalizer(coordinator.metadata),
    spec: {
      ...coordinatorDefaults,
      ...coordinator.spec,
      ...(hijackCIDR !== undefined && { hijackCIDR: hijackCIDR.map(singleAsCidr) }),
      ...(policyRoutes !== undefined && {
        policyRoutes: policyRoutes.map((route) => ({ ...route, dst: maskedCidr(route.dst) })),
      }),
    },
  };
}

/** Writes an address as a CIDR of one address; leaves anything else unchanged. */
function singleAsCidr(text: string): string {
  const ip = tryParseIp(text);
  return ip === undefined ? text : formatPrefix({ ip, bits: addressBits(ip.family) });
}

/** Writes a CIDR in canonical text with zero host bits; leaves anything else unchanged. */
function maskedCidr(text: string): string {
  const cidr = singleAsCidr(text);
  const prefix = tryParsePrefix(cidr);
  return prefix === undefined ? text : formatPrefix(networkOf(prefix));
}
