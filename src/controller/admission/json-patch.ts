import { isDeepStrictEqual } from "node:util";
import { isJsonObject } from "#base";
import type { JsonPatchOperation } from "#kube";

/** RFC 6902 operations that turn `before` into `after`, both plain JSON. Lists are replaced as a whole. */
export function jsonPatch(before: unknown, after: unknown, path = ""): readonly JsonPatchOperation[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isJsonObject(before) || !isJsonObject(after)) return [{ op: "replace", path, value: after }];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  // JSON omits undefined values. Inherited properties do not count either: "toString" can be a label's key.
  const has = (object: object, key: string) => Object.hasOwn(object, key) && Reflect.get(object, key) !== undefined;
  return [...keys].flatMap((key): readonly JsonPatchOperation[] => {
    const at = `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (!has(after, key)) return has(before, key) ? [{ op: "remove", path: at }] : [];
    return has(before, key) ? jsonPatch(before[key], after[key], at) : [{ op: "add", path: at, value: after[key] }];
  });
}
