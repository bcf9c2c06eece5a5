import { isJsonObject } from "#base";
import { editDistance, nearest } from "../nearest.ts";

/** The part of OpenAPI that our structural schemas use. CEL rules are not included: `src/api` has the same rules. */
export interface StructuralSchema {
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly items?: StructuralSchema;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly maxItems?: number;
}

/** A mistake in an object and its place, in the API server's words: `Invalid value: "a": spec.x in body must be …`. */
export interface SchemaViolation {
  /** `spec.ips[0]` */
  readonly field: string;
  readonly message: string;
  /** The field is not known: what is known may be judged without it. */
  readonly unknown?: true;
}

/**
 * Checks an object against its kind's schema, as the API server does before any rule: reports unknown fields, with the one that
 * was probably meant, and values of the wrong type or out of bounds. Changes nothing: defaults count as present.
 */
export function schemaViolations(object: unknown, schema: StructuralSchema): readonly SchemaViolation[] {
  return judge(object, schema, "");
}

function judge(value: unknown, schema: StructuralSchema, path: string): readonly SchemaViolation[] {
  const found = typeOf(value);
  if (schema.type !== undefined && schema.type !== found) {
    return [invalid(path, found, `must be of type ${schema.type}: "${found}"`)];
  }
  if (schema.enum?.includes(value) === false) {
    const supported = schema.enum.map((one) => JSON.stringify(one)).join(", ");
    return [{ field: path, message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported}` }];
  }
  if (typeof value === "number") return judgeNumber(value, schema, path);
  if (typeof value === "string") return judgeText(value, schema, path);
  if (Array.isArray(value)) return judgeList(value, schema, path);
  return isJsonObject(value) ? judgeMap(value, schema, path) : [];
}

function judgeNumber(value: number, { minimum, maximum }: StructuralSchema, path: string): readonly SchemaViolation[] {
  if (minimum !== undefined && value < minimum) {
    return [invalid(path, value, `should be greater than or equal to ${minimum}`)];
  }
  if (maximum !== undefined && value > maximum) {
    return [invalid(path, value, `should be less than or equal to ${maximum}`)];
  }
  return [];
}

const dateTime = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

function judgeText(
  value: string,
  { maxLength, pattern, format }: StructuralSchema,
  path: string,
): readonly SchemaViolation[] {
  const found: SchemaViolation[] = [];
  if (maxLength !== undefined && [...value].length > maxLength) {
    found.push({ field: path, message: `Too long: may not be more than ${maxLength} bytes` });
  }
  if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) {
    found.push(invalid(path, value, `should match '${pattern}'`));
  }
  if (format === "date-time" && !dateTime.test(value)) {
    found.push(invalid(path, value, `must be of type date-time: ${JSON.stringify(value)}`));
  }
  return found;
}

function judgeList(
  value: readonly unknown[],
  { maxItems, items = {} }: StructuralSchema,
  path: string,
): readonly SchemaViolation[] {
  const ofItems = value.flatMap((item, index) => judge(item, items, `${path}[${index}]`));
  if (maxItems === undefined || value.length <= maxItems) return ofItems;
  return [{ field: path, message: `Too many: ${value.length}: must have at most ${maxItems} items` }, ...ofItems];
}

function judgeMap(
  value: Readonly<Record<string, unknown>>,
  schema: StructuralSchema,
  path: string,
): readonly SchemaViolation[] {
  const { properties = {}, additionalProperties, required = [] } = schema;
  const missing = required
    .filter((name) => value[name] === undefined)
    .map((name): SchemaViolation => ({ field: join(path, name), message: "Required value" }));
  const inner = Object.entries(value).flatMap(([name, one]) => {
    const field = join(path, name);
    const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    // An empty schema accepts anything.
    if (known === undefined) return schema.type === undefined ? [] : [unknown(field, name, Object.keys(properties))];
    // The API server replaces null by the default.
    return one === undefined || (one === null && known.default !== undefined) ? [] : judge(one, known, field);
  });
  return [...missing, ...inner];
}

function unknown(field: string, name: string, names: readonly string[]): SchemaViolation {
  const meant = closest(name, names);
  const known = names.length === 0 ? "there is none here" : `known are ${names.join(", ")}`;
  const hint = meant === undefined ? known : `did you mean ${meant}?`;
  return { field, message: `unknown field ${JSON.stringify(name)}: ${hint}`, unknown: true };
}

function invalid(field: string, value: unknown, rule: string): SchemaViolation {
  return { field, message: `Invalid value: ${JSON.stringify(value)}: ${field} in body ${rule}` };
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** The name closest to a mistyped one, ignoring case; undefined if none is close. */
function closest(name: string, names: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  const found = nearest(
    lower,
    names.map((known) => known.toLowerCase()),
  );
  if (found === undefined || editDistance(lower, found) > Math.max(1, name.length / 3)) return undefined;
  return names.find((known) => known.toLowerCase() === found);
}
