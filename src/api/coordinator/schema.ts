/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { celOf } from "../rules/rule.ts";
import { addressText, flag, integer, routes, text, texts, validations, word } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { coordinatorRules } from "./rules.ts";
import { spiderCoordinators } from "./types.ts";

const modes = ["auto", "underlay", "overlay", "disabled"] as const;
const podCidrTypes = ["auto", "cluster", "calico", "cilium", "none"] as const;

/**
 * The fields that a SpiderCoordinator and the block inside a SpiderMultusConfig share. Only the former has defaults: a default
 * inside a SpiderMultusConfig would look like the user's own choice and override the cluster's setting.
 */
function fields(defaults: boolean) {
  const byDefault = <T>(value: T) => (defaults ? { default: value } : {});
  return {
    mode: Type.Optional(
      word("How Pods and their node reach each other; auto looks at the first NIC.", modes, byDefault("auto")),
    ),
    podCIDRType: Type.Optional(word("Where the Pod CIDRs of the cluster are read from.", podCidrTypes)),
    hijackCIDR: Type.Optional(texts("Further CIDRs that Pods reach through their node.")),
    policyRoutes: Type.Optional(routes("Further routes of the NIC, by a gateway in its own network.")),
    podMACPrefix: Type.Optional(text("First two octets of the Pods' MAC addresses, `hh:hh`.", { maxLength: 64 })),
    tunePodRoutes: Type.Optional(
      flag("Gives every NIC of a Pod a routing table of its own.", defaults ? true : undefined),
    ),
    podDefaultRouteNIC: Type.Optional(
      text("NIC that has the default route of Pods with several, if it has one itself."),
    ),
    hostRuleTable: Type.Optional(integer("Routing table of the node for routes to Pods.", byDefault(500))),
    podRPFilter: Type.Optional(integer("rp_filter in Pods: 0, 1, 2, or negative to leave it.", byDefault(0))),
    txQueueLen: Type.Optional(integer("Transmit queue length of Pod NICs; 0 leaves it.", byDefault(0))),
    vethLinkAddress: Type.Optional(addressText("Address that the node's end of the veth pairs has.")),
    vethMTU: Type.Optional(integer("MTU of the veth pairs.", { minimum: 1 })),
  };
}

/** `spec` of a SpiderCoordinator, with every default. */
export const coordinatorSpec = Type.Object(fields(true), validations(celOf(coordinatorRules)));
/** `spec.coordinator` of a SpiderMultusConfig: without defaults, because absent fields follow the SpiderCoordinator. */
export const coordinatorBlock = Type.Object(fields(false), {
  description: "Overrides, for this network, of what the SpiderCoordinator says.",
  ...validations(celOf(coordinatorRules)),
});

/** `status`: the CIDRs of the cluster that the controller found. */
export const coordinatorStatus = Type.Object({
  phase: word("Whether the CIDRs below are known.", ["Synced", "NotReady"]),
  reason: Type.Optional(text("Why not.")),
  overlayPodCIDR: Type.Optional(texts("Pod CIDRs of the cluster.")),
  serviceCIDR: Type.Optional(texts("Service CIDRs of the cluster.")),
});

/** The CRD's parts. */
export const coordinatorDefinition = definitionOf(spiderCoordinators, "scc", {
  description: "How Pods on underlay networks reach their node and the cluster's services.",
  spec: coordinatorSpec,
  status: coordinatorStatus,
  required: ["spec"],
  statusSubresource: true,
  columns: [],
});
