import type { LabelSelector } from "kubernetes-types/meta/v1.d.ts";

/** Kubernetes' rule for a LabelSelector: all of it holds; an empty one matches everything, an absent one nothing. */
export function matchesLabels(
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  if (selector === undefined) return false;
  const { matchLabels = {}, matchExpressions = [] } = selector;
  const equal = Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
  return equal && matchExpressions.every(({ key, operator, values = [] }) => holds(operator, values, labels[key]));
}

function holds(operator: string, values: readonly string[], found: string | undefined): boolean {
  switch (operator) {
    case "In":
      return found !== undefined && values.includes(found);
    case "NotIn":
      return found === undefined || !values.includes(found);
    case "Exists":
      return found !== undefined;
    default: // DoesNotExist
      return found === undefined;
  }
}
