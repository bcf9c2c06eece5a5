/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { addressLengthMax, count, flag, ipVersion, labelSelector, routes, text, texts } from "../schema/fields.ts";

export const poolSpec = Type.Object({
  ipVersion: Type.Optional(ipVersion),
  subnet: text("CIDR that the addresses belong to, host bits zero. Immutable.", { maxLength: addressLengthMax }),
  ips: Type.Optional(texts("Addresses that the pool may hand out: single addresses `A` and ranges `A-B`.")),
  excludeIPs: Type.Optional(texts("Taken off `ips`, in the same form.")),
  gateway: Type.Optional(
    text("Address inside `subnet` that becomes the default route of Pods.", { maxLength: addressLengthMax }),
  ),
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
});

export const poolStatus = Type.Object({
  allocatedIPs: Type.Optional(text("JSON: address → {pod, podUid}. Absent when nothing is allocated.")),
  totalIPCount: Type.Optional(count("Addresses in `ips` less `excludeIPs`.")),
  allocatedIPCount: Type.Optional(count("Addresses in use.")),
});
