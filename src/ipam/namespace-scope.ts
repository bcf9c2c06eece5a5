import type { LabelSelector } from "#api";
import { formatLabelsFor, formatSelector, type Labels, matchSelector } from "./selector.ts";

/** The fields of an IPPool or SpiderSubnet that say which namespaces it is for. */
interface NamespaceScope {
  readonly namespaceName?: readonly string[];
  readonly namespaceAffinity?: LabelSelector | undefined;
}

/** The parts of a namespace that a scope depends on. */
export interface NamespaceFacts {
  readonly name: string;
  readonly labels: Labels;
}

/** Why a namespace is out of scope: the field that says so (`scope` if neither is set), what would pass, what was found. */
interface OutOfScope {
  readonly check: "scope" | "namespaceName" | "namespaceAffinity";
  readonly expected: string;
  readonly found: string;
}

/**
 * Decides for pools and subnets whether a namespace is in scope; undefined if it is. `namespaceName` wins over
 * `namespaceAffinity`. A scope with neither is for every namespace, or for none if it is `strict`.
 */
export function outOfScope(
  { namespaceName = [], namespaceAffinity }: NamespaceScope,
  { name, labels }: NamespaceFacts,
  { strict }: { readonly strict: boolean },
): OutOfScope | undefined {
  if (namespaceName.length > 0) {
    if (namespaceName.includes(name)) return undefined;
    return { check: "namespaceName", expected: namespaceName.join(" "), found: name };
  }
  if (namespaceAffinity !== undefined) {
    if (matchSelector(namespaceAffinity, labels)) return undefined;
    const [expected, found] = [formatSelector(namespaceAffinity), formatLabelsFor(namespaceAffinity, labels)];
    return { check: "namespaceAffinity", expected, found };
  }
  return strict
    ? { check: "scope", expected: "spec.namespaceName or spec.namespaceAffinity", found: "neither" }
    : undefined;
}
