import type { FieldError } from "../failure.ts";
import { copyOf } from "../resource.ts";
import { type Fields, isFields } from "../types.ts";
import { compileRule, type Rule, type RuleCheck } from "./cel.ts";

/** The part of a structural schema that the product's definitions use. {@link unknownKeyword} finds any other. */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly maxItems?: number;
  readonly anyOf?: readonly Schema[];
  readonly not?: Schema;
  readonly "x-kubernetes-validations"?: readonly Rule[];
}

const keywords = new Set([
  ...["type", "format", "default", "enum", "properties", "additionalProperties", "items", "required"],
  ...["minimum", "maximum", "maxLength", "pattern", "maxItems", "anyOf", "not"],
  "x-kubernetes-validations",
  // These have no effect here: how lists are merged matters only to server-side apply.
  ...["description", "x-kubernetes-list-type"],
  ...["x-kubernetes-list-map-keys", "x-kubernetes-map-type"],
]);

/** The path of the first keyword that is not implemented here; undefined if there is none. */
export function unknownKeyword(schema: Schema, path = "schema"): string | undefined {
  const foreign = Object.keys(schema).find((keyword) => !keywords.has(keyword));
  if (foreign !== undefined) return `${path}.${foreign}`;
  const { properties = {}, items, additionalProperties, anyOf = [], not } = schema;
  const inner: Record<string, Schema | undefined> = { ...properties, "[]": items, "*": additionalProperties, not };
  return [...Object.entries(inner), ...anyOf.map((one) => ["anyOf", one] as const)]
    .map(([name, one]) => one && unknownKeyword(one, `${path}.${name}`))
    .find((found) => found !== undefined);
}

const join = (path: string, field: string) => (path === "" ? field : `${path}.${field}`);

/** Drops unknown fields of `value`, in place, and returns their paths. apiVersion, kind and metadata stay. */
export function prune(value: unknown, schema: Schema, path = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => prune(item, schema.items ?? {}, `${path}[${index}]`));
  if (!isFields(value)) return [];
  return Object.entries(value).flatMap(([field, inner]) => {
    if (path === "" && ["apiVersion", "kind", "metadata"].includes(field)) return [];
    const known = knownField(schema, field);
    if (known !== undefined) return prune(inner, known, join(path, field));
    delete value[field];
    return [join(path, field)];
  });
}

function knownField({ properties = {}, additionalProperties }: Schema, field: string): Schema | undefined {
  return Object.hasOwn(properties, field) ? properties[field] : additionalProperties;
}

/** Fills in defaults, in place. A null counts as absent if there is a default. */
export function applyDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) for (const item of value) applyDefaults(item, schema.items ?? {});
  if (!isFields(value)) return;
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    if (inner.default !== undefined) value[field] ??= copyOf(inner.default);
  }
  for (const [field, inner] of Object.entries(value)) applyDefaults(inner, knownField(schema, field) ?? {});
}

/** What is wrong with `value`, in the API server's words. */
export function validate(value: unknown, schema: Schema, path = ""): FieldError[] {
  const found = typeOf(value);
  const { type } = schema;
  if (type !== undefined && type !== found) {
    return [invalidValue(path, found, `must be of type ${type}: "${found}"`)];
  }
  const errors = enumErrors(value, schema, path);
  if (typeof value === "number") errors.push(...numberErrors(value, schema, path));
  else if (typeof value === "string") errors.push(...stringErrors(value, schema, path));
  else if (Array.isArray(value)) errors.push(...arrayErrors(value, schema, path));
  else if (isFields(value)) errors.push(...objectErrors(value, schema, path));
  return [...errors, ...joinedErrors(value, schema, path)];
}

const compiled = new WeakMap<Schema, readonly RuleCheck[]>();

/**
 * Checks rules in CEL on `value`, which is valid otherwise. `old` is the former value. Items of lists have no former value,
 * because they are not matched with each other.
 */
export function checkRules(value: unknown, old: unknown, schema: Schema, path = ""): FieldError[] {
  const rules = compiled.get(schema) ?? (schema["x-kubernetes-validations"] ?? []).map(compileRule);
  compiled.set(schema, rules);
  const own = rules.flatMap((check) => check(value, old, path) ?? []);
  if (Array.isArray(value)) {
    const { items = {} } = schema;
    return [...own, ...value.flatMap((item, index) => checkRules(item, undefined, items, `${path}[${index}]`))];
  }
  if (!isFields(value)) return own;
  const inner = Object.entries(value).flatMap(([field, one]) => {
    const known = path === "" && field === "metadata" ? undefined : knownField(schema, field);
    return known === undefined ? [] : checkRules(one, isFields(old) ? old[field] : undefined, known, join(path, field));
  });
  return [...own, ...inner];
}

const invalidValue = (field: string, value: unknown, rule: string): FieldError => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${field} in body ${rule}`,
});

/** The API server names the field in the message only. */
const joined = (path: string, rule: string): FieldError => ({
  field: "<nil>",
  reason: "FieldValueInvalid",
  message: `Invalid value: "": "${path}" ${rule}`,
});

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function enumErrors(value: unknown, schema: Schema, field: string): FieldError[] {
  if (schema.enum === undefined || schema.enum.includes(value)) return [];
  const allowed = schema.enum.map((item) => JSON.stringify(item)).join(", ");
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed}`;
  return [{ field, reason: "FieldValueNotSupported", message }];
}

/** If no alternative fits, reports the errors of the first one. The API server reports those of the one that fits best. */
function joinedErrors(value: unknown, { anyOf, not }: Schema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (not !== undefined && validate(value, not, path).length === 0) {
    errors.push(joined(path, "must not validate the schema (not)"));
  }
  const failures = anyOf?.map((one) => validate(value, one, path)) ?? [];
  const [first] = failures;
  if (first === undefined || failures.some((failed) => failed.length === 0)) return errors;
  return [...errors, joined(path, "must validate at least one schema (anyOf)"), ...first];
}

function numberErrors(value: number, { minimum, maximum }: Schema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (minimum !== undefined && value < minimum) {
    errors.push(invalidValue(path, value, `should be greater than or equal to ${minimum}`));
  }
  if (maximum !== undefined && value > maximum) {
    errors.push(invalidValue(path, value, `should be less than or equal to ${maximum}`));
  }
  return errors;
}

const dateTime = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function stringErrors(value: string, { maxLength, pattern, format }: Schema, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (maxLength !== undefined && [...value].length > maxLength) {
    errors.push({ field, reason: "FieldValueTooLong", message: `Too long: may not be more than ${maxLength} bytes` });
  }
  if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) {
    errors.push(invalidValue(field, value, `should match '${pattern}'`));
  }
  if (format === "date-time" && !dateTime.test(value)) {
    errors.push(invalidValue(field, value, `must be of type date-time: ${JSON.stringify(value)}`));
  }
  return errors;
}

function arrayErrors(value: readonly unknown[], { maxItems, items = {} }: Schema, field: string): FieldError[] {
  const errors = value.flatMap((item, index) => validate(item, items, `${field}[${index}]`));
  if (maxItems === undefined || value.length <= maxItems) return errors;
  const message = `Too many: ${value.length}: must have at most ${maxItems} items`;
  return [{ field, reason: "FieldValueTooMany", message }, ...errors];
}

function objectErrors(value: Readonly<Fields>, schema: Schema, path: string): FieldError[] {
  const missing = (schema.required ?? []).filter((field) => value[field] === undefined);
  const errors = missing.map((field): FieldError => {
    return { field: join(path, field), reason: "FieldValueRequired", message: "Required value" };
  });
  for (const [field, inner] of Object.entries(value)) {
    const known = path === "" && field === "metadata" ? undefined : knownField(schema, field);
    if (known !== undefined) errors.push(...validate(inner, known, join(path, field)));
  }
  return errors;
}
