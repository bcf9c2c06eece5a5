/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { addressLengthMax, count, ipVersion, routes, text, texts } from "../schema/fields.ts";

export const subnetSpec = Type.Object({
  ipVersion: Type.Optional(ipVersion),
  subnet: text("CIDR, host bits zero; no two subnets overlap. Immutable.", { maxLength: addressLengthMax }),
  ips: Type.Optional(texts("Addresses that may be given to pools: single addresses `A` and ranges `A-B`.")),
  excludeIPs: Type.Optional(texts("Taken off `ips`, in the same form.")),
  gateway: Type.Optional(
    text("Inherited by pools that have none when they are linked.", { maxLength: addressLengthMax }),
  ),
  routes: Type.Optional(routes("Inherited by pools that have none when they are linked.")),
});

export const subnetStatus = Type.Object({
  controlledIPPools: Type.Optional(text("JSON: pool → {ips, application}. Absent when there is none.")),
  totalIPCount: Type.Optional(count("Addresses in `ips` less `excludeIPs`.")),
  allocatedIPCount: Type.Optional(count("Addresses handed to pools.")),
});
