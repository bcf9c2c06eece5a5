import { applyPatch, type Operation } from "rfc6902";
import { ApiFailure, badRequest, unsupportedMediaType } from "../failure.ts";
import { copyOf } from "../resource.ts";
import { at, type Fields, isFields, listAt } from "../types.ts";

const serverSideApply = "application/apply-patch+yaml";

/** Throws a 415 for a type of patch that is not supported: server-side apply, and strategic patches of custom resources. */
export function checkPatchType(contentType: string, custom: boolean): void {
  const accepted = ["application/json-patch+json", "application/merge-patch+json"];
  if (!custom) accepted.push("application/strategic-merge-patch+json");
  if (accepted.includes(contentType)) return;
  if (contentType === serverSideApply) {
    throw unsupportedMediaType("this lab has none: leave out --server-side, or use `npm run cluster`");
  }
  const known = accepted.join(", ");
  throw unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${known}`,
  );
}

/** Returns `object` with a patch of a supported type applied. Neither is changed. Throws a 400 or 422 for a bad patch. */
export function patched(object: object, patch: unknown, contentType: string): Fields {
  if (contentType === "application/json-patch+json") return jsonPatched(object, patch);
  if (!isFields(patch)) throw badRequest("error decoding patch: a JSON object is expected");
  return contentType.includes("strategic") ? strategicMerge(object, patch) : (mergePatch(object, patch) as Fields);
}

function jsonPatched(object: object, patch: unknown): Fields {
  if (!Array.isArray(patch)) throw badRequest("error decoding patch: a JSON list of operations is expected");
  const result = copyOf(object) as Fields;
  const failure = applyPatch(result, patch as Operation[]).find((error) => error !== null);
  if (failure === undefined) return result;
  const causes = [{ reason: "UnexpectedServerResponse", message: failure.message }];
  throw new ApiFailure(422, "Invalid", "the server rejected our request due to an error in our request", { causes });
}

/** RFC 7386 §2. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field];
    else result[field] = mergePatch(result[field], value);
  }
  return result;
}

/** Lists of objects that a strategic patch merges item by item, with the field that identifies an item. */
const mergeKeys: Readonly<Record<string, string>> = {
  conditions: "type",
  containers: "name",
  env: "name",
  initContainers: "name",
  ownerReferences: "uid",
  ports: "containerPort",
  volumeMounts: "mountPath",
  volumes: "name",
};

/**
 * Kubernetes' strategic merge as `kubectl apply`, `set image` and `rollout restart` write it: a merge patch where certain
 * lists merge by key. Directives: `$patch: delete`, `$retainKeys`, `$setElementOrder`.
 */
export function strategicMerge(target: unknown, patch: Readonly<Fields>): Fields {
  const result: Fields = isFields(target) ? { ...target } : {};
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained)) for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key];
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith("$")) continue;
    const key = mergeKeys[field];
    if (value === null) delete result[field];
    else if (Array.isArray(value) && key !== undefined) {
      const merged = mergeList(listAt(result, field), value, key);
      result[field] = inOrder(merged, listAt(patch, `$setElementOrder/${field}`), key);
    } else result[field] = isFields(value) ? strategicMerge(result[field], value) : value;
  }
  return result;
}

function mergeList(current: readonly unknown[], patch: readonly unknown[], key: string): readonly unknown[] {
  const merged = new Map(current.map((item) => [at(item, key), item]));
  for (const item of patch.filter(isFields)) {
    if (item["$patch"] === "delete") merged.delete(item[key]);
    else merged.set(item[key], strategicMerge(merged.get(item[key]), item));
  }
  return [...merged.values()];
}

function inOrder(items: readonly unknown[], order: readonly unknown[], key: string): readonly unknown[] {
  const keys = order.map((item) => at(item, key));
  const place = (item: unknown) => keys.indexOf(at(item, key));
  return keys.length === 0 ? items : items.toSorted((a, b) => place(a) - place(b));
}
