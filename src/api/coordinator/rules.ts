import { parseIp, tryParseIp, tryParsePrefix } from "#ip";
import { checkText } from "../rules/addresses.ts";
import { checkRules, type Rule } from "../rules/rule.ts";
import { invalid, notSupported, required, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import type { CoordinatorOverrides, SpiderCoordinator } from "./types.ts";

interface CoordinatorCase {
  /** Path of the block: `spec`, or `spec.coordinator` in a SpiderMultusConfig. */
  readonly at: string;
  readonly spec: CoordinatorOverrides;
}

/** The smallest MTU that Linux gives a link (ETH_MIN_MTU, RFC 791). */
export const linkMtuMin = 68;

const podCidrTypes = ["auto", "cluster", "calico", "cilium", "none"];

/** Rules for a SpiderCoordinator and for the block inside a SpiderMultusConfig. */
export const coordinatorRules: readonly Rule<CoordinatorCase>[] = [
  {
    id: "coordinator-pod-cidr-type",
    field: "podCIDRType",
    message: "podCIDRType is a source of Pod CIDRs that we know",
    check: ({ at, spec: { podCIDRType } }) =>
      podCIDRType === undefined || podCidrTypes.includes(podCIDRType)
        ? []
        : [notSupported(`${at}.podCIDRType`, podCIDRType, podCidrTypes)],
  },
  {
    id: "coordinator-hijack-cidr",
    field: "hijackCIDR[*]",
    message: "each element is an address or a CIDR",
    check: ({ at, spec: { hijackCIDR = [] } }) =>
      hijackCIDR.flatMap((text, index) =>
        tryParseIp(text) !== undefined || tryParsePrefix(text) !== undefined
          ? []
          : [invalid(`${at}.hijackCIDR[${index}]`, text, "must be an IP address or a CIDR")],
      ),
  },
  {
    id: "coordinator-policy-routes",
    field: "policyRoutes[*]",
    message: "dst is an address or a CIDR, gw an address of its family",
    check: ({ at, spec: { policyRoutes = [] } }) =>
      policyRoutes.flatMap(({ dst, gw }, index) => {
        const field = `${at}.policyRoutes[${index}]`;
        const family = (tryParsePrefix(dst)?.ip ?? tryParseIp(dst))?.family;
        if (family === undefined) return [invalid(`${field}.dst`, dst, "must be an IP address or a CIDR")];
        return checkText(`${field}.gw`, gw, () => parseIp(gw, family));
      }),
  },
  {
    id: "coordinator-mac-prefix",
    field: "podMACPrefix",
    message: "podMACPrefix is two octets hh:hh of a unicast MAC address",
    check: ({ at, spec: { podMACPrefix = "" } }) =>
      podMACPrefix === "" || isUnicastPrefix(podMACPrefix)
        ? []
        : [
            invalid(
              `${at}.podMACPrefix`,
              podMACPrefix,
              "must be two octets in hexadecimal, 'hh:hh', and the lowest bit of the first must be 0 (unicast)",
            ),
          ],
    cel: {
      rule: "!has(self.podMACPrefix) || self.podMACPrefix == '' || self.podMACPrefix.matches('^[0-9a-fA-F][02468aceACE]:[0-9a-fA-F]{2}$')",
      message: "podMACPrefix must be two octets 'hh:hh' of a unicast MAC address",
      fieldPath: ".podMACPrefix",
    },
  },
  {
    id: "coordinator-tx-queue-len",
    field: "txQueueLen",
    message: "txQueueLen is not negative",
    check: ({ at, spec: { txQueueLen = 0 } }) =>
      txQueueLen >= 0 ? [] : [invalid(`${at}.txQueueLen`, txQueueLen, "must be greater than or equal to 0")],
    cel: { rule: "!has(self.txQueueLen) || self.txQueueLen >= 0", fieldPath: ".txQueueLen" },
  },
  {
    id: "coordinator-rp-filter",
    field: "podRPFilter",
    message: "podRPFilter is 0, 1, 2, or negative to leave it alone",
    check: ({ at, spec: { podRPFilter = 0 } }) =>
      podRPFilter <= 2 ? [] : [invalid(`${at}.podRPFilter`, podRPFilter, "must be 0, 1, 2 or negative")],
    cel: { rule: "!has(self.podRPFilter) || self.podRPFilter <= 2", fieldPath: ".podRPFilter" },
  },
  {
    id: "coordinator-link-address",
    field: "vethLinkAddress",
    message: "vethLinkAddress is an IPv4 address",
    check: ({ at, spec: { vethLinkAddress = "" } }) =>
      vethLinkAddress === ""
        ? []
        : checkText(`${at}.vethLinkAddress`, vethLinkAddress, () => parseIp(vethLinkAddress, 4)),
    cel: {
      rule: "!has(self.vethLinkAddress) || self.vethLinkAddress == '' || (isIP(self.vethLinkAddress) && ip(self.vethLinkAddress).family() == 4)",
      fieldPath: ".vethLinkAddress",
    },
  },
  {
    id: "coordinator-veth-mtu",
    field: "vethMTU",
    message: "vethMTU is an MTU that a link can have: 68 or more",
    check: ({ at, spec: { vethMTU = linkMtuMin } }) => {
      if (vethMTU >= linkMtuMin) return [];
      const need =
        vethMTU > 0 ? `at least ${linkMtuMin}, the smallest MTU of a link; 1280 with IPv6` : "greater than 0";
      return [invalid(`${at}.vethMTU`, vethMTU, `must be ${need}`)];
    },
  },
];

/** Returns why the SpiderCoordinator may not be stored. */
export function validateCoordinator({ spec, metadata }: Submitted<SpiderCoordinator>): readonly Violation[] {
  // A terminating coordinator must be able to lose its finalizer even if it is invalid.
  if (metadata.deletionTimestamp !== undefined) return [];
  const missing = spec.podCIDRType === undefined ? [required("spec.podCIDRType", "must be specified")] : [];
  return [...missing, ...checkCoordinatorBlock("spec", spec)];
}

/** Checks the fields of a coordinator that are set; `at` is their path. */
export function checkCoordinatorBlock(at: string, spec: CoordinatorOverrides): readonly Violation[] {
  return checkRules(coordinatorRules, { at, spec });
}

function isUnicastPrefix(text: string): boolean {
  return /^[0-9a-f][02468ace]:[0-9a-f]{2}$/i.test(text);
}
