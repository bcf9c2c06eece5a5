import type { KubeObject, Resource } from "#kube";

/** The API group of every kind of ours but the NetworkAttachmentDefinition. */
export const apiGroup = "spiderpool.spidernet.io";
export const apiVersion = "v2beta1";
/** On pools, subnets, endpoints and coordinators: the object goes only when what depends on it is gone. */
export const finalizer = "spiderpool.spidernet.io";

/** A resource of our group. */
export function ours<T extends KubeObject>(plural: string, kind: string, namespaced: boolean): Resource<T> {
  return { group: apiGroup, version: apiVersion, plural, kind, namespaced };
}
