import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import { ours } from "../group.ts";
import type { ipAddressSpec } from "./schema.ts";

/** `spec` of a claim, in the format that its `format` names. */
export type SpiderIPAddressSpec = DeepReadonly<Static<typeof ipAddressSpec>>;

/** The claim on one address. Its name is the address, and names are unique, so no address is given twice. */
export interface SpiderIPAddress extends KubeObject {
  readonly spec: SpiderIPAddressSpec;
}

/** The cluster-scoped resource: the ledger. */
export const spiderIPAddresses: Resource<SpiderIPAddress> = ours("spideripaddresses", "SpiderIPAddress", false);
