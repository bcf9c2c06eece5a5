import { applyPatch, type Operation } from "rfc6902";
import { ApiFailure, badRequest, unsupportedMediaType } from "./failure.ts";
import { copyOf } from "./resource.ts";
import { at, type Fields, isFields, listAt } from "./types.ts";

/** Throws a 415 for a type that the resource does not take: server-side apply anywhere, strategic for custom resources. */
export function checkPatchType(contentType: string, custom: boolean): void {
  const accepted = ["application/json-patch+json", "application/merge-patch+json"];
  if (!custom) accepted.push("application/strategic-merge-patch+json");
  if (accepted.includes(contentType)) return;
  const known = accepted.join(", ");
  throw unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${known}`,
  );
}

/** `object` with a patch of a checked type applied; neither is changed. Throws a 400 or 422 for a bad patch. */
export function patched(object: object, patch: unknown, contentType: string): Fields {
  if (contentType === "application/json-patch+json") return jsonPatched(object, patch);
  if (!isFields(patch)) throw badRequest("error decoding patch: a JSON object is expected");
  const merged = contentType.includes("strategic") ? strategicMerge(object, patch) : mergePatch(object, patch);
  return merged as Fields;
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
const mergeKeys: Readonly<Record<string, readonly string[]>> = {
  addresses: ["type"],
  conditions: ["type"],
  containers: ["name"],
  env: ["name"],
  ephemeralContainers: ["name"],
  hostAliases: ["ip"],
  imagePullSecrets: ["name"],
  initContainers: ["name"],
  ownerReferences: ["uid"],
  podIPs: ["ip"],
  ports: ["containerPort", "port"],
  schedulingGates: ["name"],
  secrets: ["name"],
  topologySpreadConstraints: ["topologyKey"],
  volumeDevices: ["devicePath"],
  volumeMounts: ["mountPath"],
  volumes: ["name"],
};
const mergedPrimitiveLists = ["finalizers", "podCIDRs"];

/**
 * Kubernetes' strategic merge: a merge patch where certain lists merge by key. Directives: `$patch: replace | delete`,
 * `$retainKeys`, `$deleteFromPrimitiveList`, `$setElementOrder`.
 */
export function strategicMerge(target: unknown, patch: Readonly<Fields>): unknown {
  if (patch["$patch"] === "delete") return {};
  const result: Fields = isFields(target) && patch["$patch"] !== "replace" ? { ...target } : {};
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained)) for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key];
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith("$deleteFromPrimitiveList/")) {
      const name = field.slice("$deleteFromPrimitiveList/".length);
      result[name] = listAt(result, name).filter((item) => !listAt(patch, field).includes(item));
    } else if (field.startsWith("$")) {
    } else if (value === null) delete result[field];
    else if (Array.isArray(value)) result[field] = mergeList(field, result[field], value, patch);
    else result[field] = isFields(value) ? strategicMerge(result[field], value) : value;
  }
  return result;
}

function mergeList(field: string, target: unknown, patch: readonly unknown[], parent: Readonly<Fields>): unknown[] {
  const current = Array.isArray(target) ? target : [];
  if (mergedPrimitiveLists.includes(field)) return [...new Set([...current, ...patch])];
  const key = mergeKeys[field]?.find((name) => [...patch, ...current].some((item) => at(item, name) !== undefined));
  const replaced = patch.some((item) => at(item, "$patch") === "replace");
  if (key === undefined || replaced) return patch.filter((item) => at(item, "$patch") !== "replace");
  const merged = [...current];
  for (const item of patch) {
    if (!isFields(item)) continue;
    const found = merged.findIndex((other) => at(other, key) === item[key]);
    if (item["$patch"] === "delete") {
      if (found >= 0) merged.splice(found, 1);
    } else if (found >= 0) merged[found] = strategicMerge(merged[found], item);
    else merged.push(strategicMerge({}, item));
  }
  const order = listAt(parent, `$setElementOrder/${field}`).map((item) => at(item, key));
  const place = (item: unknown) => order.indexOf(at(item, key));
  return order.length === 0 ? merged : merged.sort((a, b) => place(a) - place(b));
}
