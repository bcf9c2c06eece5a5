/** What a kind says about itself for its CustomResourceDefinition; the rest is the same for all of ours. */
import type { TSchema } from "typebox";

/** A rule that the API server itself enforces; see https://kubernetes.io/docs/reference/using-api/cel/. */
export interface CelRule {
  /** The property of `spec` that carries it; absent: `spec` itself. A rule is not run for a property that did not change. */
  readonly at?: string;
  readonly rule: string;
  readonly message?: string;
  /** CEL that yields the message, where it must name a value. */
  readonly messageExpression?: string;
  /** Relative to the schema that carries the rule: `.gateway`. */
  readonly fieldPath?: string;
}

/** A column of `kubectl get`; above priority 0 only with `-o wide`. */
interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly jsonPath: string;
  readonly priority?: number;
  readonly description?: string;
}

/** One of our kinds, as its CustomResourceDefinition says it. */
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
  /** Top-level properties that an object must have. */
  readonly required: readonly ("spec" | "status")[];
  /** Status is written through its own endpoint and never by an ordinary update. */
  readonly statusSubresource: boolean;
  readonly columns: readonly PrinterColumn[];
  /** Rules about the whole object; of its metadata only name and generateName can be read. */
  readonly rules?: readonly CelRule[];
}

export type Crd = ReturnType<typeof crdOf>;

/** The CustomResourceDefinition as plain JSON, keys in the order in which people read them. */
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

/** TypeBox keeps its own marks in non-enumerable properties; JSON text has only the schema. */
function plain(schema: TSchema): unknown {
  return JSON.parse(JSON.stringify(schema));
}
