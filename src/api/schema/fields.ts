import { Type } from "typebox";
import type { DeepReadonly } from "#kube";
import type { CelRule } from "./crd.ts";

/**
 * The longest text of an address or CIDR that the schema lets pass to the rules. Longer than any valid one, so that a rule
 * refuses a wrong value and says why; short, so that the API server's cost estimate for CEL stays small.
 */
const addressLengthMax = 64;
/** More routes than a Pod can sensibly have; bounds the cost of CEL rules over them. */
const routesMax = 256;

/** The address family of a pool or of reserved IPs. */
export function ipVersion(rules: readonly CelRule[]) {
  const description = "Address family, 4 or 6; inferred when absent. Immutable.";
  return Type.Unsafe<4 | 6>({ type: "integer", format: "int64", enum: [4, 6], description, ...validations(rules) });
}

/** Any text; rules restrict it. */
export function text(description: string, options: { readonly maxLength?: number } = {}) {
  return Type.String({ description, ...options });
}

/** An address or CIDR; rules check it. */
export function addressText(description: string, rules: readonly CelRule[] = []) {
  return Type.String({ description, maxLength: addressLengthMax, ...validations(rules) });
}

/** CEL rules as an option of the schema that carries them. */
export function validations(rules: readonly CelRule[]) {
  return rules.length === 0 ? {} : { "x-kubernetes-validations": rules };
}

/** A list of texts. */
export function texts(description: string) {
  return Type.Array(Type.String(), { description });
}

/** A boolean; the API server fills in `byDefault`. */
export function flag(description: string, byDefault?: boolean) {
  return Type.Boolean({ description, ...(byDefault !== undefined && { default: byDefault }) });
}

/** A whole number within bounds. */
export function integer(
  description: string,
  options: { readonly minimum?: number; readonly maximum?: number; readonly default?: number } = {},
) {
  return Type.Integer({ description, ...options });
}

/** A count of addresses: int64, never negative. */
export function count(description: string) {
  return Type.Integer({ description, format: "int64", minimum: 0 });
}

/** A time, RFC 3339. */
export function time(description: string) {
  return Type.String({ description, format: "date-time" });
}

/** Conditions as in Kubernetes' own kinds, at most one of each type; only conditions that hold are listed. */
export function conditions(description: string, types: readonly string[]) {
  return Type.Array(
    Type.Object({
      type: word("What holds.", types),
      status: word("True while it holds.", ["True"]),
      reason: text("In one word, why.", { maxLength: 64 }),
      message: text("For people: what is wrong, with whom, and what to do.", { maxLength: 4096 }),
      lastTransitionTime: time("Since when it holds."),
    }),
    { description, maxItems: types.length, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] },
  );
}

/** One of several words; the type is their union. */
export function word<const W extends readonly string[]>(
  description: string,
  words: W,
  options: { readonly default?: W[number] } = {},
) {
  return Type.Unsafe<W[number]>({ type: "string", enum: words, description, ...options });
}

/** Routes of Pods, as in pools and subnets. */
export function routes(description: string) {
  return Type.Array(
    Type.Object({
      dst: addressText("Destination CIDR."),
      gw: addressText("Next hop, an address."),
    }),
    { description, maxItems: routesMax },
  );
}

interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** Kubernetes' LabelSelector, as every built-in kind has it. */
export function labelSelector(description: string) {
  return Type.Unsafe<Selector>({
    description,
    type: "object",
    "x-kubernetes-map-type": "atomic",
    properties: {
      matchLabels: { type: "object", additionalProperties: { type: "string" } },
      matchExpressions: {
        type: "array",
        "x-kubernetes-list-type": "atomic",
        items: {
          type: "object",
          required: ["key", "operator"],
          properties: {
            key: { type: "string" },
            operator: { type: "string", description: "In, NotIn, Exists or DoesNotExist." },
            values: { type: "array", items: { type: "string" }, "x-kubernetes-list-type": "atomic" },
          },
        },
      },
    },
  });
}

/** Kubernetes' LabelSelector. The operator may be any text, because rules validate it, not the schema. */
export type LabelSelector = DeepReadonly<Selector>;
