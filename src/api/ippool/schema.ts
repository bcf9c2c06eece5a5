/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { celOf } from "../rules/rule.ts";
import {
  addressText,
  conditions,
  count,
  flag,
  integer,
  ipVersion,
  labelSelector,
  routes,
  text,
  texts,
  validations,
} from "../schema/fields.ts";
import { definitionOf, usageColumns } from "../schema/ours.ts";
import { coolDownMax, poolRules } from "./rules.ts";
import { spiderIPPools } from "./types.ts";

/** `spec`: addresses of one CIDR, what goes with them, and who may have them. */
export const poolSpec = Type.Object(
  {
    ipVersion: Type.Optional(ipVersion(celOf(poolRules, "ipVersion"))),
    subnet: addressText("CIDR that the addresses belong to, host bits zero. Immutable.", celOf(poolRules, "subnet")),
    ips: Type.Optional(texts("Addresses that the pool may hand out: single addresses `A` and ranges `A-B`.")),
    excludeIPs: Type.Optional(texts("Taken off `ips`, in the same form.")),
    gateway: Type.Optional(addressText("Address inside `subnet` that becomes the default route of Pods.")),
    routes: Type.Optional(routes("Further routes of Pods; the default route is given by `gateway`.")),
    podAffinity: Type.Optional(labelSelector("Only Pods with these labels may use the pool.")),
    namespaceAffinity: Type.Optional(labelSelector("Only Pods of Namespaces with these labels may use the pool.")),
    namespaceName: Type.Optional(texts("Only Pods of these Namespaces; `namespaceAffinity` is then ignored.")),
    nodeAffinity: Type.Optional(labelSelector("Only Pods on Nodes with these labels may use the pool.")),
    nodeName: Type.Optional(texts("Only Pods on these Nodes; `nodeAffinity` is then ignored.")),
    multusName: Type.Optional(
      texts("Only NICs of these NetworkAttachmentDefinitions, `namespace/name` or `name` in the install namespace."),
    ),
    default: Type.Optional(flag("Used by Pods that nothing assigns to a pool.", false)),
    disable: Type.Optional(flag("Hands out no new address; those in use stay.", false)),
    coolDown: Type.Optional(
      integer(
        "Seconds for which an address that was given back is handed out last; without it the cluster's default.",
        {
          minimum: 0,
          maximum: coolDownMax,
        },
      ),
    ),
  },
  validations(celOf(poolRules)),
);

const poolConditionTypes = ["Invalid", "OutOfRange", "AllocatedIPsTruncated"] as const;

/** `status`: derived from claims by the leader. */
export const poolStatus = Type.Object({
  allocatedIPs: Type.Optional(text("JSON: address → {pod, podUid}. Absent when nothing is allocated.")),
  totalIPCount: Type.Optional(count("Addresses in `ips` less `excludeIPs`.")),
  allocatedIPCount: Type.Optional(count("Addresses in use.")),
  conditions: Type.Optional(
    conditions("What is wrong with the pool, or with its status; absent where nothing is.", poolConditionTypes),
  ),
});

/** The CRD's parts. */
export const poolDefinition = definitionOf(spiderIPPools, "sp", {
  description: "Addresses of one CIDR, and who may have them.",
  spec: poolSpec,
  status: poolStatus,
  required: ["spec"],
  statusSubresource: true,
  columns: [
    ...usageColumns,
    { name: "DEFAULT", type: "boolean", jsonPath: ".spec.default", description: "default" },
    { name: "DISABLE", type: "boolean", jsonPath: ".spec.disable", description: "disable", priority: 10 },
    { name: "NodeName", type: "string", jsonPath: ".spec.nodeName", description: "nodeName", priority: 10 },
    { name: "MultusName", type: "string", jsonPath: ".spec.multusName", description: "multusName", priority: 10 },
    {
      name: "APP-NAMESPACE",
      type: "string",
      jsonPath: String.raw`.spec.podAffinity.matchLabels['ipam\.spidernet\.io/app\-namespace']`,
      description: "AppNamespace",
      priority: 10,
    },
  ],
});
