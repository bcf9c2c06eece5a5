import { FakeRefusal, type StoredObject } from "./fake-storage.ts";
import { matchesFields, matchesLabels } from "./selectors.ts";

/** What a path is about. */
export interface Target {
  /** The path of the collection over all namespaces. */
  readonly collection: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
}

/** Throws 404 if the path is none of an API. */
export function parseTarget(path: string): Target {
  const url = new URL(path, "http://fake-api");
  const match = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)\/(.+)$/.exec(url.pathname);
  const root = match?.[1];
  const parts = (match?.[2] ?? "").split("/").map(decodeURIComponent);
  // `namespaces/NAME/status` is a Namespace's own subresource, `namespaces/NAME/PLURAL` a collection in it.
  const inNamespace = parts[0] === "namespaces" && parts.length > 2 && !["status", "finalize"].includes(parts[2] ?? "");
  const [plural, name, subresource] = inNamespace ? parts.slice(2) : parts;
  if (root === undefined || plural === undefined) throw new FakeRefusal(404, "", "404 page not found");
  const namespace = inNamespace ? parts[1] : undefined;
  return { collection: `${root}/${plural}`, plural, namespace, name, subresource, query: url.searchParams };
}

/** Whether an object of a collection is among those that the path and its selectors ask for. */
export function selection({ collection, namespace, query }: Target): (of: string, object: StoredObject) => boolean {
  const labels = query.get("labelSelector");
  const fields = query.get("fieldSelector");
  return (of, object) =>
    of === collection &&
    (namespace === undefined || object.metadata.namespace === namespace) &&
    (labels === null || matchesLabels(labels, object.metadata.labels ?? {})) &&
    (fields === null || matchesFields(fields, object));
}
