import type { KubeObject, Resource } from "#kube";
import type { KindDefinition } from "./crd.ts";

/** The definition of a kind of our group: names from its Resource, all in the category `spiderpool`. */
export function definitionOf(
  { group, version, kind, plural, namespaced }: Resource<KubeObject>,
  shortName: string,
  rest: Omit<KindDefinition, "group" | "version" | "kind" | "plural" | "namespaced" | "shortNames" | "categories">,
): KindDefinition {
  return { group, version, kind, plural, namespaced, shortNames: [shortName], categories: ["spiderpool"], ...rest };
}
