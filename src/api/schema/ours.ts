import type { KubeObject, Resource } from "#kube";
import type { KindDefinition } from "./crd.ts";

/** The definition of a kind of our group, named by its Resource, in the category `spiderpool`. */
export function definitionOf(
  { group, version, kind, plural, namespaced }: Resource<KubeObject>,
  shortName: string,
  rest: Omit<
    KindDefinition,
    "group" | "version" | "kind" | "plural" | "singular" | "namespaced" | "shortNames" | "categories"
  >,
): KindDefinition {
  const names = { plural, singular: kind.toLowerCase(), shortNames: [shortName], categories: ["spiderpool"] };
  return { group, version, kind, namespaced, ...names, ...rest };
}

/** The first columns of `kubectl get` for kinds that hold addresses. */
export const usageColumns = [
  { name: "VERSION", type: "string", jsonPath: ".spec.ipVersion", description: "ipVersion" },
  { name: "SUBNET", type: "string", jsonPath: ".spec.subnet", description: "subnet" },
  {
    name: "ALLOCATED-IP-COUNT",
    type: "integer",
    jsonPath: ".status.allocatedIPCount",
    description: "allocatedIPCount",
  },
  { name: "TOTAL-IP-COUNT", type: "integer", jsonPath: ".status.totalIPCount", description: "totalIPCount" },
] as const satisfies KindDefinition["columns"];
