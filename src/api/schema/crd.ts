/** CustomResourceDefinitions from the parts that differ between our kinds; the rest is the same for all. */
import type { TSchema } from "typebox";

/** A rule that the API server enforces; see https://kubernetes.io/docs/reference/using-api/cel/. */
export interface CelRule {
  /** The property of `spec` that carries the rule; absent: `spec` itself. Rules of an unchanged property do not run. */
  readonly at?: string;
  readonly rule: string;
  readonly message?: string;
  /** CEL that computes the message, if it must name a value. */
  readonly messageExpression?: string;
  /** Relative to the schema that carries the rule: `.gateway`. */
  readonly fieldPath?: string;
}

/** A column of `kubectl get`, shown only with `-o wide` if its priority is above 0. */
interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly jsonPath: string;
  readonly priority?: number;
  readonly description?: string;
}

/** One of our kinds, as its CustomResourceDefinition describes it. */
export interface KindDefinition {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly description: string;
  readonly spec?: TSchema;
  readonly status?: TSchema;
  /** Required top-level properties. */
  readonly required: readonly ("spec" | "status")[];
  /** Whether `status` is a subresource, which ordinary updates do not change. */
  readonly statusSubresource: boolean;
  readonly columns: readonly PrinterColumn[];
  /** Rules about the whole object. CEL sees only `name` and `generateName` of its metadata. */
  readonly rules?: readonly CelRule[];
}

/** A CustomResourceDefinition (`apiextensions.k8s.io/v1`), without status. */
export type Crd = ReturnType<typeof crdOf>;

/** The CustomResourceDefinition as plain JSON, with keys in a readable order. */
export function crdOf(definition: KindDefinition) {
  const { group, version, kind, plural, singular } = definition;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular,
        ...(definition.shortNames.length > 0 && { shortNames: definition.shortNames }),
        ...(definition.categories.length > 0 && { categories: definition.categories }),
      },
      scope: definition.namespaced ? "Namespaced" : "Cluster",
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          ...(definition.columns.length > 0 && { additionalPrinterColumns: definition.columns }),
          ...(definition.statusSubresource && { subresources: { status: {} } }),
          schema: { openAPIV3Schema: objectSchema(definition) },
        },
      ],
    },
  };
}

function objectSchema({ description, spec, status, required, rules = [] }: KindDefinition): Record<string, unknown> {
  return {
    description,
    type: "object",
    ...(required.length > 0 && { required }),
    ...(rules.length > 0 && { "x-kubernetes-validations": rules }),
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      ...(spec !== undefined && { spec: plain(spec) }),
      ...(status !== undefined && { status: plain(status) }),
    },
  };
}

/** Drops TypeBox's own non-enumerable properties. */
function plain(schema: TSchema): unknown {
  return JSON.parse(JSON.stringify(schema));
}
