import type { KubeObject, Resource } from "#kube";

/** The API group of all our kinds, and its one served and stored version. */
export const group = "spiderpool.spidernet.io";
export const version = "v2beta1";

/** One of our resources: cluster-scoped unless said otherwise. */
export function ours<T extends KubeObject>(plural: string, kind: string, namespaced = false): Resource<T> {
  return { group, version, plural, kind, namespaced };
}

/** Label selector of the API, as users write it. */
export interface LabelSelectorJson {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** A route as users write it: `dst` a CIDR, `gw` an address. */
export interface RouteJson {
  readonly dst: string;
  readonly gw: string;
}
