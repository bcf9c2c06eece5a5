/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import type { KindDefinition } from "../schema/crd.ts";
import { text } from "../schema/fields.ts";
import { networkAttachmentDefinitions } from "./types.ts";

/** `spec` of the working group's CRD. */
export const networkSpec = Type.Object({
  config: Type.Optional(text("CNI configuration as JSON text; empty: a file on the node that has this name.")),
});

const { group, version, kind, plural, namespaced } = networkAttachmentDefinitions;

/** The names are those of the Kubernetes Network Plumbing Working Group's de-facto standard, §3.2. */
export const networkDefinition: KindDefinition = {
  group,
  version,
  kind,
  plural,
  namespaced,
  singular: "network-attachment-definition",
  shortNames: ["net-attach-def"],
  categories: [],
  description: "A network that Pods can ask for by name.",
  spec: networkSpec,
  required: [],
  statusSubresource: false,
  columns: [],
};
