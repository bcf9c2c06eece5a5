import { parseAllDocuments } from "yaml";
import type { Submitted } from "#api";
import { SpiderError } from "#base";
import type { KubeObject } from "#kube";

/** An object of a file, as a user would send it. */
export type Manifest = Submitted<KubeObject>;

/** The objects of a stream of YAML documents. Throws OPTIONS_INVALID naming the place. */
export function parseManifests(text: string, filename: string): readonly Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new SpiderError("OPTIONS_INVALID", `${filename}: ${error.message}`);
    const value: unknown = document.toJS();
    if (value === null) return [];
    if (isManifest(value)) return value.kind === "List" ? value.items.filter(isManifest) : [value];
    throw new SpiderError("OPTIONS_INVALID", `${filename}: a document is no Kubernetes object`);
  });
}

/** As much of the shape as is relied on; the rules of its kind and the API server's schema judge the rest. */
function isManifest(value: unknown): value is Manifest & { readonly items: readonly unknown[] } {
  if (typeof value !== "object" || value === null) return false;
  const { kind, metadata = {}, spec = {}, items = [] } = value as Record<string, unknown>;
  return typeof kind === "string" && isMap(metadata) && isMap(spec) && Array.isArray(items);
}

function isMap(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
