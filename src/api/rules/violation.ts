/** Why an object is refused, in the form of the API server's own validation. */
export type Violation =
  | { readonly type: "Invalid"; readonly field: string; readonly value: unknown; readonly detail: string }
  | { readonly type: "Required"; readonly field: string; readonly detail: string }
  | { readonly type: "Forbidden"; readonly field: string; readonly detail: string }
  | {
      readonly type: "NotSupported";
      readonly field: string;
      readonly value: unknown;
      readonly supported: readonly string[];
    };

/** A value that its field may not have; `detail` says why. */
export function invalid(field: string, value: unknown, detail: string): Violation {
  return { type: "Invalid", field, value, detail };
}

/** A required field that is absent. */
export function required(field: string, detail: string): Violation {
  return { type: "Required", field, detail };
}

/** A field that must not be set, or must not change. */
export function forbidden(field: string, detail: string): Violation {
  return { type: "Forbidden", field, detail };
}

/** A value outside a fixed set. */
export function notSupported(field: string, value: unknown, supported: readonly string[]): Violation {
  return { type: "NotSupported", field, value, supported };
}

/** `spec.subnet: Invalid value: "10.6.0.1/16": …` */
export function formatViolation(violation: Violation): string {
  return `${violation.field}: ${formatReason(violation)}`;
}

/** The message without the field, for `status.details.causes[].message`: `Invalid value: "10.6.0.1/16": …` */
export function formatReason(violation: Violation): string {
  switch (violation.type) {
    case "Invalid":
      return `Invalid value: ${JSON.stringify(violation.value)}: ${violation.detail}`;
    case "Required":
      return `Required value: ${violation.detail}`;
    case "Forbidden":
      return `Forbidden: ${violation.detail}`;
    case "NotSupported":
      return `Unsupported value: ${JSON.stringify(violation.value)}: supported values: ${violation.supported
        .map((word) => JSON.stringify(word))
        .join(", ")}`;
  }
}

/** The API server's `status.details.causes[].reason` for each type. */
export const causeReasons: Readonly<Record<Violation["type"], string>> = {
  Invalid: "FieldValueInvalid",
  Required: "FieldValueRequired",
  Forbidden: "FieldValueForbidden",
  NotSupported: "FieldValueNotSupported",
};
