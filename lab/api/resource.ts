import type { FieldError } from "./failure.ts";
import type { Fields, KubeObject } from "./types.ts";

/** One column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  /** If it is above 0, the column is only in `-o wide`. */
  readonly priority: number;
  /** The value of a cell. Ages need `nowMs`. */
  cell(object: KubeObject, nowMs: number): unknown;
}

/** What the rules of a resource find in an object that is about to be stored. */
interface Admitted {
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
  /** True if a CRD defines it: then there are no strategic patches, and updates need a resourceVersion. */
  readonly custom: boolean;
  /** If `status` is one of them, writes of the object itself do not change its status. */
  readonly subresources: readonly string[];
  /** Paths that field selectors may name, besides the object's name and namespace. */
  readonly selectable: readonly string[];
  readonly columns: readonly Column[];
  /** What `kubectl explain` shows. @default nothing */
  readonly schema?: object;
  /** A warning for clients that create one. */
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
