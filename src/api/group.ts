import type { KubeObject, Resource } from "#kube";

/** The API group of all our kinds. (NetworkAttachmentDefinition is not ours.) */
export const apiGroup = "spiderpool.spidernet.io";
/** The one version of our kinds, served and stored. */
export const apiVersion = "v2beta1";
/** The finalizer of pools, subnets, endpoints and coordinators: keeps the object until nothing depends on it. */
export const finalizer = "spiderpool.spidernet.io";

/** A resource of our group. */
export function ours<T extends KubeObject>(plural: string, kind: string, namespaced: boolean): Resource<T> {
  return { group: apiGroup, version: apiVersion, plural, kind, namespaced };
}
