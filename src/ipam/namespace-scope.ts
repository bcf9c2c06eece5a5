import type { LabelSelector } from "#api";
import { formatLabelsFor, formatSelector, type Labels, matchSelector } from "./selector.ts";

/** What an IPPool or a SpiderSubnet says about the namespaces that it is for. */
interface NamespaceScope {
  readonly namespaceName?: readonly string[];
  readonly namespaceAffinity?: LabelSelector | undefined;
}

/** A namespace as scopes look at it. */
export interface NamespaceFacts {
  readonly name: string;
  readonly labels: Labels;
}

/** Why a namespace is out of scope: the field that says so (`scope`: neither is set), what would do, and what was there. */
interface OutOfScope {
  readonly check: "scope" | "namespaceName" | "namespaceAffinity";
  readonly expected: string;
  readonly found: string;
}

/**
 * The one rule of pools and subnets. `namespaceName` wins over `namespaceAffinity`. A scope with neither is for every
 * namespace, or for none if it is `strict`. Undefined: the namespace is in scope.
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
