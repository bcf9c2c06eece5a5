import type { NodeSelectorTerm } from "kubernetes-types/core/v1.d.ts";
import type { LabelSelector } from "kubernetes-types/meta/v1.d.ts";

type Labels = Readonly<Record<string, string>>;
interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** Kubernetes' rule for a LabelSelector: all of it holds; an empty one matches everything, an absent one nothing. */
export function matchesLabels(selector: LabelSelector | undefined, labels: Labels = {}): boolean {
  if (selector === undefined) return false;
  const exact = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return exact && (selector.matchExpressions ?? []).every((requirement) => holds(requirement, labels));
}

/** One term of a Pod's required node affinity; `matchFields` knows only `metadata.name`, as Kubernetes does. */
export function matchesNodeTerm(term: NodeSelectorTerm, name: string, labels: Labels = {}): boolean {
  const byLabel = (term.matchExpressions ?? []).every((requirement) => holds(requirement, labels));
  return byLabel && (term.matchFields ?? []).every((requirement) => holds(requirement, { "metadata.name": name }));
}

/** The selector as the text of a list's `labelSelector`. */
export function selectorText(selector: LabelSelector): string {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const words: Record<string, (r: Requirement) => string> = {
    In: ({ key, values = [] }) => `${key} in (${values.join(",")})`,
    NotIn: ({ key, values = [] }) => `${key} notin (${values.join(",")})`,
    Exists: ({ key }) => key,
    DoesNotExist: ({ key }) => `!${key}`,
  };
  return [...equal, ...(selector.matchExpressions ?? []).map((one) => words[one.operator]?.(one) ?? one.key)].join(",");
}

function holds({ key, operator, values = [] }: Requirement, labels: Labels): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return Number(value) > Number(values[0]);
    case "Lt":
      return Number(value) < Number(values[0]);
    default:
      return false;
  }
}
