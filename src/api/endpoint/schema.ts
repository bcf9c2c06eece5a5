/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { flag, routes, text } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { spiderEndpoints } from "./types.ts";

const endpointIp = Type.Object({
  interface: text("NIC in the Pod; empty while it is not known."),
  ipv4: Type.Optional(text("IPv4 address with the prefix length of its pool's subnet.")),
  ipv4Pool: Type.Optional(text("IPPool of the IPv4 address.")),
  ipv4Gateway: Type.Optional(text("IPv4 gateway; absent where the pool has none.")),
  ipv6: Type.Optional(text("IPv6 address with the prefix length of its pool's subnet.")),
  ipv6Pool: Type.Optional(text("IPPool of the IPv6 address.")),
  ipv6Gateway: Type.Optional(text("IPv6 gateway; absent where the pool has none.")),
  cleanGateway: Type.Optional(flag("No default route was set by this NIC.")),
  vlan: Type.Optional(
    Type.Integer({
      format: "int64",
      minimum: 0,
      maximum: 4094,
      default: 0,
      description: "VLAN from an IaaS provider.",
    }),
  ),
  mac: Type.Optional(text("MAC from an IaaS provider.")),
  routes: Type.Optional(routes("Routes that the Pod got for this NIC.")),
});

/** `status`: the Pod's present sandbox, one entry for each NIC. */
export const endpointStatus = Type.Object({
  current: Type.Object({
    uid: text("UID of the Pod that has the addresses."),
    node: text("Node of the Pod."),
    ips: Type.Array(endpointIp, { description: "One entry for each NIC." }),
  }),
  ownerControllerType: text("Kind of the outermost owner; Pod for a Pod without one."),
  ownerControllerName: text("Name of the outermost owner."),
});

const first = ".status.current.ips[0]";

/** The CRD's parts. Its columns show the first NIC. */
export const endpointDefinition = definitionOf(spiderEndpoints, "se", {
  description: "The addresses of one Pod.",
  status: endpointStatus,
  required: ["status"],
  statusSubresource: false,
  columns: [
    { name: "INTERFACE", type: "string", jsonPath: `${first}.interface`, description: "interface" },
    { name: "IPV4POOL", type: "string", jsonPath: `${first}.ipv4Pool`, description: "ipv4Pool" },
    { name: "IPV4", type: "string", jsonPath: `${first}.ipv4`, description: "ipv4" },
    { name: "IPV6POOL", type: "string", jsonPath: `${first}.ipv6Pool`, description: "ipv6Pool" },
    { name: "IPV6", type: "string", jsonPath: `${first}.ipv6`, description: "ipv6" },
    { name: "NODE", type: "string", jsonPath: ".status.current.node", description: "node" },
  ],
});
