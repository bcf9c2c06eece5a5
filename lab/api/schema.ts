import { isDeepStrictEqual } from "node:util";
import type { FieldError } from "./failure.ts";
import { matchesFormat } from "./formats.ts";
import { copyOf } from "./resource.ts";
import { type Fields, isFields } from "./types.ts";

/** The structural subset of OpenAPI that CRDs may use. */
export interface Schema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly format?: string;
  readonly nullable?: boolean;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly not?: Schema;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly unknown[];
}

const join = (path: string, field: string) => (path === "" ? field : `${path}.${field}`);
const envelope = ["apiVersion", "kind", "metadata"];

/**
 * Drops from `value` what the schema does not know, in place, and returns the paths dropped. The object's own and an
 * embedded resource's apiVersion, kind and metadata stay.
 */
export function prune(value: unknown, schema: Schema, path = ""): string[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((item, index) => prune(item, items, `${path}[${index}]`));
  }
  if (!isFields(value)) return [];
  const dropped: string[] = [];
  const keepsEnvelope = path === "" || schema["x-kubernetes-embedded-resource"] === true;
  for (const [field, inner] of Object.entries(value)) {
    const known = knownField(schema, field);
    if (known !== undefined) {
      if (!(keepsEnvelope && field === "metadata")) dropped.push(...prune(inner, known, join(path, field)));
    } else if (
      !(keepsEnvelope && envelope.includes(field)) &&
      schema["x-kubernetes-preserve-unknown-fields"] !== true
    ) {
      dropped.push(join(path, field));
      delete value[field];
    }
  }
  return dropped;
}

function knownField(schema: Schema, field: string): Schema | undefined {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, field)) return schema.properties[field];
  if (schema.additionalProperties === true) return { "x-kubernetes-preserve-unknown-fields": true };
  return schema.additionalProperties === false ? undefined : schema.additionalProperties;
}

/** Fills in defaults, in place. A null in a field that is not nullable counts as absent when there is a default. */
export function applyDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) applyDefaults(item, schema.items);
    return;
  }
  if (!isFields(value)) return;
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    const absent = value[field] === undefined || (value[field] === null && inner.nullable !== true);
    if (absent && inner.default !== undefined) value[field] = copyOf(inner.default);
  }
  for (const [field, inner] of Object.entries(value)) {
    const known = knownField(schema, field);
    if (known !== undefined) applyDefaults(inner, known);
  }
}

/** What is wrong with `value`, in the API server's wording. */
export function validate(value: unknown, schema: Schema, path = ""): FieldError[] {
  if (value === null && (schema.nullable === true || schema.type === undefined)) return [];
  const mistyped = typeError(value, schema, path);
  if (mistyped !== undefined) return [mistyped];
  const errors = [...enumErrors(value, schema, path), ...junctionErrors(value, schema, path)];
  if (typeof value === "number") errors.push(...numberErrors(value, schema, path));
  else if (typeof value === "string") errors.push(...stringErrors(value, schema, path));
  else if (Array.isArray(value)) errors.push(...arrayErrors(value, schema, path));
  else if (isFields(value)) errors.push(...objectErrors(value, schema, path));
  return errors;
}

const invalidValue = (field: string, value: unknown, why: string): FieldError => ({
  field: field === "" ? "<nil>" : field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

function typeError(value: unknown, schema: Schema, path: string): FieldError | undefined {
  const found = typeOf(value);
  if (schema["x-kubernetes-int-or-string"] === true) {
    if (found === "integer" || found === "string") return undefined;
    return invalidValue(path, found, `${path} in body must be of type integer,string: "${found}"`);
  }
  const { type } = schema;
  if (type === undefined || type === found || (type === "number" && found === "integer")) return undefined;
  return invalidValue(path, found, `${path} in body must be of type ${type}: "${found}"`);
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function enumErrors(value: unknown, schema: Schema, field: string): FieldError[] {
  if (schema.enum === undefined || schema.enum.some((allowed) => isDeepStrictEqual(allowed, value))) return [];
  const allowed = schema.enum.map((item) => JSON.stringify(item)).join(", ");
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed}`;
  return [{ field, reason: "FieldValueNotSupported", message }];
}

function junctionErrors(value: unknown, schema: Schema, path: string): FieldError[] {
  const holds = (inner: Schema) => validate(value, inner, path).length === 0;
  const must = (rule: string) => invalidValue(path, "", `${path === "" ? "<nil>" : path} in body must ${rule}`);
  const errors = (schema.allOf ?? []).flatMap((inner) => validate(value, inner, path));
  if (schema.anyOf !== undefined && !schema.anyOf.some(holds)) {
    errors.push(must("validate at least one schema (anyOf)"));
  }
  if (schema.oneOf !== undefined) {
    const found = schema.oneOf.filter(holds).length;
    const detail = found === 0 ? "Found none valid" : `Found ${found} valid alternatives`;
    if (found !== 1) errors.push(must(`validate one and only one schema (oneOf). ${detail}`));
  }
  if (schema.not !== undefined && holds(schema.not)) errors.push(must("not validate the schema (not)"));
  return errors;
}

function numberErrors(value: number, schema: Schema, path: string): FieldError[] {
  const rules: [boolean, string][] = [];
  const { minimum, maximum, multipleOf, format } = schema;
  if (minimum !== undefined) {
    if (schema.exclusiveMinimum === true) rules.push([value > minimum, `should be greater than ${minimum}`]);
    else rules.push([value >= minimum, `should be greater than or equal to ${minimum}`]);
  }
  if (maximum !== undefined) {
    if (schema.exclusiveMaximum === true) rules.push([value < maximum, `should be less than ${maximum}`]);
    else rules.push([value <= maximum, `should be less than or equal to ${maximum}`]);
  }
  if (multipleOf !== undefined) rules.push([value % multipleOf === 0, `should be a multiple of ${multipleOf}`]);
  if (format === "int32") rules.push([(value | 0) === value, `must be of type int32: "integer"`]);
  return brokenRules(value, rules, path);
}

function stringErrors(value: string, schema: Schema, path: string): FieldError[] {
  const rules: [boolean, string][] = [];
  const { minLength, maxLength, pattern, format } = schema;
  const length = [...value].length;
  if (minLength !== undefined) rules.push([length >= minLength, `should be at least ${minLength} chars long`]);
  if (pattern !== undefined) rules.push([patternOf(pattern).test(value), `should match '${pattern}'`]);
  if (format !== undefined) {
    rules.push([matchesFormat(value, format), `must be of type ${format}: ${JSON.stringify(value)}`]);
  }
  const errors = brokenRules(value, rules, path);
  if (maxLength !== undefined && length > maxLength) {
    const message = `Too long: may not be more than ${maxLength} bytes`;
    errors.unshift({ field: path, reason: "FieldValueTooLong", message });
  }
  return errors;
}

/** Go's expressions are JavaScript's but for flags in front: `(?i)abc`. */
function patternOf(pattern: string): RegExp {
  const [, flags = "", rest = ""] = /^(?:\(\?([ims]+)\))?([\s\S]*)$/.exec(pattern) ?? [];
  return new RegExp(rest, `${flags}u`);
}

function brokenRules(value: unknown, rules: readonly [boolean, string][], path: string): FieldError[] {
  return rules.filter(([holds]) => !holds).map(([, rule]) => invalidValue(path, value, `${path} in body ${rule}`));
}

function arrayErrors(value: readonly unknown[], schema: Schema, path: string): FieldError[] {
  const { minItems, maxItems, items } = schema;
  const errors: FieldError[] = [];
  if (minItems !== undefined && value.length < minItems) {
    errors.push(invalidValue(path, value.length, `${path} in body should have at least ${minItems} items`));
  }
  if (maxItems !== undefined && value.length > maxItems) {
    const message = `Too many: ${value.length}: must have at most ${maxItems} items`;
    errors.push({ field: path, reason: "FieldValueTooMany", message });
  }
  if (items !== undefined) errors.push(...value.flatMap((item, i) => validate(item, items, `${path}[${i}]`)));
  return [...errors, ...duplicateErrors(value, schema, path)];
}

function duplicateErrors(value: readonly unknown[], schema: Schema, path: string): FieldError[] {
  const keys = schema["x-kubernetes-list-map-keys"];
  const identity = (item: unknown) =>
    keys !== undefined && isFields(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : item;
  if (keys === undefined && schema["x-kubernetes-list-type"] !== "set" && schema.uniqueItems !== true) return [];
  const seen = new Set<string>();
  return value.flatMap((item, index): FieldError[] => {
    const text = JSON.stringify(identity(item));
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    return [{ field: `${path}[${index}]`, reason: "FieldValueDuplicate", message: `Duplicate value: ${text}` }];
  });
}

function objectErrors(value: Readonly<Fields>, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const size = Object.keys(value).length;
  const { minProperties, maxProperties } = schema;
  if (minProperties !== undefined && size < minProperties) {
    errors.push(invalidValue(path, size, `${path} in body should have at least ${minProperties} properties`));
  }
  if (maxProperties !== undefined && size > maxProperties) {
    const message = `Too many: ${size}: must have at most ${maxProperties} items`;
    errors.push({ field: path, reason: "FieldValueTooMany", message });
  }
  for (const field of schema.required ?? []) {
    if (value[field] === undefined) {
      errors.push({ field: join(path, field), reason: "FieldValueRequired", message: "Required value" });
    }
  }
  for (const [field, inner] of Object.entries(value)) {
    const known = path === "" && field === "metadata" ? undefined : knownField(schema, field);
    if (known !== undefined) errors.push(...validate(inner, known, join(path, field)));
  }
  return errors;
}
