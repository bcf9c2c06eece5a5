import { ApiFailure } from "../failure.ts";
import { groupVersion, type Resource } from "../resource.ts";
import type { KubeObject } from "../types.ts";

/** The form in which a client wants objects: complete, as rows of a table, or only their metadata. */
export type Form =
  | { readonly kind: "plain" }
  | { readonly kind: "metadata" }
  | { readonly kind: "table"; readonly include: "Object" | "Metadata" | "None" };

/** `metadata` of a list. */
export interface ListMeta {
  readonly resourceVersion: string;
  /** The token of the next page. */
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** The first of the accepted types that is supported. Throws a 406 if none is. */
export function formOf(accept: string | undefined, includeObject: string | null): Form {
  for (const alternative of (accept ?? "*/*").split(",")) {
    const [type = "", ...parameters] = alternative.split(";").map((part) => part.trim());
    if (!["application/json", "application/*", "*/*"].includes(type)) continue;
    const as = parameters.find((parameter) => parameter.startsWith("as="))?.slice(3);
    if (as === undefined) return { kind: "plain" };
    if (!parameters.includes("v=v1")) continue;
    if (as.startsWith("PartialObjectMetadata")) return { kind: "metadata" };
    if (as !== "Table") continue;
    return {
      kind: "table",
      include: includeObject === "Object" || includeObject === "None" ? includeObject : "Metadata",
    };
  }
  const message = "only the following media types are accepted: application/json";
  throw new ApiFailure(406, "NotAcceptable", message, {});
}

/** One object as a response body. */
export function presentOne(resource: Resource, object: KubeObject, form: Form, nowMs: number): object {
  if (form.kind === "table") {
    return table(resource, [object], form.include, { resourceVersion: object.metadata.resourceVersion }, nowMs);
  }
  return form.kind === "metadata" ? metadataOnly(object) : served(resource, object);
}

/** A list as a response body. */
export function presentList(
  resource: Resource,
  objects: readonly KubeObject[],
  metadata: ListMeta,
  form: Form,
  nowMs: number,
): object {
  if (form.kind === "table") return table(resource, objects, form.include, metadata, nowMs);
  if (form.kind === "metadata") {
    const envelope = { kind: "PartialObjectMetadataList", apiVersion: "meta.k8s.io/v1" };
    return { ...envelope, metadata, items: objects.map(metadataOnly) };
  }
  const apiVersion = groupVersion(resource);
  return {
    kind: `${resource.kind}List`,
    apiVersion,
    metadata,
    items: objects.map((object) => served(resource, object)),
  };
}

/** The object of a bookmark, which has only a resourceVersion. */
export function presentBookmark(resource: Resource, metadata: object, form: Form): object {
  if (form.kind === "plain") return { kind: resource.kind, apiVersion: groupVersion(resource), metadata };
  const kind = form.kind === "table" ? "Table" : "PartialObjectMetadata";
  const row = { cells: resource.columns.map(() => ""), object: { ...partialEnvelope, metadata } };
  const rows = form.kind === "table" ? { columnDefinitions: definitions(resource), rows: [row] } : {};
  return { kind, apiVersion: "meta.k8s.io/v1", metadata, ...rows };
}

const partialEnvelope = { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1" };

const metadataOnly = (object: KubeObject) => ({ ...partialEnvelope, metadata: object.metadata });

/** The object in the requested version. Versions differ only in their names. */
function served(resource: Resource, object: KubeObject): KubeObject {
  const apiVersion = groupVersion(resource);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

function table(
  resource: Resource,
  objects: readonly KubeObject[],
  include: "Object" | "Metadata" | "None",
  metadata: ListMeta,
  nowMs: number,
): object {
  const rows = objects.map((object) => ({
    cells: [object.metadata.name, ...resource.columns.map((column) => column.cell(object, nowMs))],
    ...(include === "Object" && { object: served(resource, object) }),
    ...(include === "Metadata" && { object: metadataOnly(object) }),
  }));
  const envelope = { kind: "Table", apiVersion: "meta.k8s.io/v1" };
  return { ...envelope, metadata, columnDefinitions: definitions(resource), rows };
}

function definitions(resource: Resource): object[] {
  const name = { name: "Name", type: "string", format: "name", priority: 0 };
  const rest = resource.columns.map(({ name, type, priority }) => {
    return { name, type: type === "date" ? "string" : type, priority };
  });
  return [name, ...rest];
}
