import type { KubeObject } from "#kube";
import kinds from "./kinds.json" with { type: "json" };
import { type SchemaViolation, type StructuralSchema, schemaViolations } from "./structural.ts";

const text: StructuralSchema = { type: "string" };
const texts: StructuralSchema = { type: "object", additionalProperties: text };
const anything: StructuralSchema = {};

/**
 * Kubernetes' ObjectMeta, with fields that users write, and fields that the server adds, for manifests that were read from it.
 */
const metadata: StructuralSchema = {
  type: "object",
  properties: {
    name: text,
    generateName: text,
    namespace: text,
    labels: texts,
    annotations: texts,
    finalizers: { type: "array", items: text },
    ownerReferences: {
      type: "array",
      items: {
        type: "object",
        required: ["apiVersion", "kind", "name", "uid"],
        properties: {
          apiVersion: text,
          kind: text,
          name: text,
          uid: text,
          controller: { type: "boolean" },
          blockOwnerDeletion: { type: "boolean" },
        },
      },
    },
    uid: text,
    resourceVersion: text,
    selfLink: text,
    generation: anything,
    managedFields: anything,
    creationTimestamp: anything,
    deletionTimestamp: anything,
    deletionGracePeriodSeconds: anything,
  },
};

const specs: Readonly<Record<string, StructuralSchema>> = kinds as Readonly<Record<string, StructuralSchema>>;

/** Checks a manifest of one of our kinds against the kind's schema, as the API server does; empty for other kinds. */
export function violationsOfKind(manifest: Pick<KubeObject, "kind"> & object): readonly SchemaViolation[] {
  const { kind = "" } = manifest;
  const spec = Object.hasOwn(specs, kind) ? specs[kind] : undefined;
  if (spec === undefined) return [];
  return schemaViolations(manifest, {
    type: "object",
    required: ["spec"],
    // The server ignores a status in an applied object.
    properties: { apiVersion: text, kind: text, metadata, spec, status: anything },
  });
}
