import type { FieldError } from "./failure.ts";
import type { Fields, KubeObject } from "./types.ts";

/** One column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  /** Above 0: with `-o wide` only. */
  readonly priority: number;
  /** The cell's value; `nowMs` is for ages. */
  cell(object: KubeObject, nowMs: number): unknown;
}

/** What a resource does with an object that is about to be stored. */
export interface Admitted {
  readonly errors: readonly FieldError[];
  /** Fields that the schema does not know and that were dropped: `spec.x`. */
  readonly unknown: readonly string[];
}

/** One served version of one resource. Versions of the same resource share `table`. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  /** Where its objects are in the store. */
  readonly table: string;
  /** True for what a CRD defines: no strategic patches, updates need a resourceVersion. */
  readonly custom: boolean;
  /** `status` among them means that the object itself cannot change it. */
  readonly subresources: readonly string[];
  /** Paths that field selectors may name, besides the object's name and namespace. */
  readonly selectable: readonly string[];
  readonly columns: readonly Column[];
  /** What somebody who creates one is told. */
  readonly warning?: string;
  /** Defaults, prunes and checks `object` in place. `previous` is undefined when it is created. */
  admit(object: KubeObject, previous: KubeObject | undefined): Admitted;
  /** Returns what the schema refuses, except rules in CEL. Runs before validating webhooks. @default nothing */
  malformed?(object: Readonly<Fields>): readonly FieldError[];
}

/** `v1`, `apps/v1` */
export function groupVersion(resource: { readonly group: string; readonly version: string }): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** A copy that may be changed. */
export function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** The object at `fields[name]`, made if absent. */
export function ensure(fields: Fields, name: string): Fields {
  const found = fields[name];
  if (typeof found === "object" && found !== null) return found as Fields;
  const made: Fields = {};
  fields[name] = made;
  return made;
}
