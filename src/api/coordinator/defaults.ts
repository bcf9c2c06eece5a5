import { addressBits, formatPrefix, networkOf, tryParseIp, tryParsePrefix } from "#ip";
import { isTerminating, withFinalizer } from "../rules/defaults.ts";
import type { Submitted } from "../submitted.ts";
import type { SpiderCoordinator } from "./types.ts";

/** What a SpiderCoordinator has where the user says nothing; `podCIDRType` must be said. */
export const coordinatorDefaults = {
  mode: "auto",
  tunePodRoutes: true,
  hostRuleTable: 500,
  podRPFilter: 0,
  txQueueLen: 0,
  vethLinkAddress: "",
  vethMTU: 1500,
} as const;

/** The coordinator with what is filled in at every create and update: finalizer, defaults, single addresses as CIDRs. */
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

/** An address as the CIDR that holds only it; anything else as it is. */
function singleAsCidr(text: string): string {
  const ip = tryParseIp(text);
  return ip === undefined ? text : formatPrefix({ ip, bits: addressBits(ip.family) });
}

/** Canonical text, host bits zero; what is no CIDR stays. */
function maskedCidr(text: string): string {
  const cidr = singleAsCidr(text);
  const prefix = tryParsePrefix(cidr);
  return prefix === undefined ? text : formatPrefix(networkOf(prefix));
}
