import type { KubeObject, Resource } from "#kube";

/** The multi-network working group's description of a network: its CNI configuration as JSON text. */
export interface NetworkAttachmentDefinition extends KubeObject {
  readonly spec?: { readonly config?: string };
}

export const networkAttachmentDefinitions: Resource<NetworkAttachmentDefinition> = {
  group: "k8s.cni.cncf.io",
  version: "v1",
  plural: "network-attachment-definitions",
  kind: "NetworkAttachmentDefinition",
  namespaced: true,
};
