import type { Static } from "typebox";
import type { DeepReadonly, KubeObject, Resource } from "#kube";
import type { networkSpec } from "./schema.ts";

/** A network that Pods can request by name: the CRD of the Kubernetes Network Plumbing Working Group. */
export interface NetworkAttachmentDefinition extends KubeObject {
  readonly spec?: DeepReadonly<Static<typeof networkSpec>>;
}

/** The namespaced resource, of the working group's API group. */
export const networkAttachmentDefinitions: Resource<NetworkAttachmentDefinition> = {
  group: "k8s.cni.cncf.io",
  version: "v1",
  plural: "network-attachment-definitions",
  kind: "NetworkAttachmentDefinition",
  namespaced: true,
};
