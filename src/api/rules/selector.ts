import type { LabelSelector } from "../schema/fields.ts";
import { forbidden, invalid, required, type Violation } from "./violation.ts";

const name = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Validates a LabelSelector as Kubernetes does, with its messages. */
export function checkSelector(field: string, selector: LabelSelector): readonly Violation[] {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return [
    ...Object.entries(matchLabels).flatMap(([key, value]) => [
      ...checkKey(`${field}.matchLabels`, key),
      ...checkValue(`${field}.matchLabels`, value),
    ]),
    ...matchExpressions.flatMap((expression, index) =>
      checkExpression(`${field}.matchExpressions[${index}]`, expression),
    ),
  ];
}

function checkExpression(
  field: string,
  { key, operator, values = [] }: NonNullable<LabelSelector["matchExpressions"]>[number],
): readonly Violation[] {
  const wrong = [...checkKey(`${field}.key`, key)];
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0) {
      wrong.push(required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
    }
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0) {
      wrong.push(forbidden(`${field}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    }
  } else wrong.push(invalid(`${field}.operator`, operator, "not a valid selector operator"));
  return [...wrong, ...values.flatMap((value, index) => checkValue(`${field}.values[${index}]`, value))];
}

function checkKey(field: string, key: string): readonly Violation[] {
  const slash = key.indexOf("/");
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const rest = key.slice(slash + 1);
  const ok = name.test(rest) && rest.length <= 63 && (prefix === undefined || isSubdomain(prefix));
  return ok
    ? []
    : [
        invalid(
          field,
          key,
          "a label key is a name of at most 63 letters, digits, '-', '_' and '.', after an optional DNS prefix and '/'",
        ),
      ];
}

/** A label value: empty, or at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit. */
export function checkValue(field: string, value: string): readonly Violation[] {
  if (value === "" || (value.length <= 63 && name.test(value))) return [];
  return [
    invalid(
      field,
      value,
      "a valid label must be an empty string or consist of at most 63 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    ),
  ];
}

/** Whether the text is an RFC 1123 subdomain, as object names must be. */
export function isSubdomain(text: string): boolean {
  return text.length <= 253 && subdomain.test(text);
}
