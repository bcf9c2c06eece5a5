/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { ipVersion, texts } from "../schema/fields.ts";

export const reservedIpSpec = Type.Object({
  ipVersion: Type.Optional(ipVersion),
  ips: Type.Optional(texts("Addresses that no pool hands out: single addresses `A` and ranges `A-B`.")),
});
