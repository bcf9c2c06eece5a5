import type { LabelSelector } from "#api";

/** `metadata.labels` of any object. */
export type Labels = Readonly<Record<string, string>>;

type Requirement = NonNullable<LabelSelector["matchExpressions"]>[number];

/** Whether labels match a selector. An empty selector matches all labels, an unknown operator none. */
export function matchSelector(selector: LabelSelector, labels: Labels): boolean {
  return requirements(selector).every((requirement) => satisfies(requirement, labels));
}

/** Formats a selector as kubectl does: `app=web,zone in (a,b),!gpu`. An unknown operator is shown as it is. */
export function formatSelector(selector: LabelSelector): string {
  return requirements(selector).map(formatRequirement).join(",");
}

/** Formats the labels that a selector asks about: `app=db,zone absent`. */
export function formatLabelsFor(selector: LabelSelector, labels: Labels): string {
  const keys = new Set(requirements(selector).map(({ key }) => key));
  return [...keys].map((key) => (labels[key] === undefined ? `${key} absent` : `${key}=${labels[key]}`)).join(",");
}

function requirements({ matchLabels = {}, matchExpressions = [] }: LabelSelector): readonly Requirement[] {
  const equalities = Object.entries(matchLabels).map(([key, value]) => ({ key, operator: "In", values: [value] }));
  return [...equalities, ...matchExpressions];
}

function satisfies({ key, operator, values = [] }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    default:
      return false;
  }
}

function formatRequirement({ key, operator, values = [] }: Requirement): string {
  switch (operator) {
    case "In":
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(",")})`;
    case "NotIn":
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
    default:
      return `${key} '${operator}' (not an operator; use In, NotIn, Exists or DoesNotExist)`;
  }
}
