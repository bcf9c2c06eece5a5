import { CniError, cniCodes } from "./errors.ts";
import { argsBytesMax } from "./limits.ts";
import type { PodRef } from "./types.ts";

/**
 * CNI_ARGS, `K=V;K=V`, in the order given; of a key given more than once the last value holds. Keys that nobody knows are
 * always accepted, with or without IgnoreUnknown. Throws CniError 4 for an item without exactly one `=`: values have no
 * escape, so neither `;` nor `=` can be part of one.
 */
export function parseArgs(text: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  if (text === "") return args;
  if (text.length > argsBytesMax) {
    throw new CniError(cniCodes.invalidEnvironment, "CNI_ARGS is too long", {
      details: { length: text.length, allowed: argsBytesMax },
    });
  }
  for (const item of text.split(";")) {
    const [key = "", value, ...more] = item.split("=");
    if (value === undefined || more.length > 0) {
      throw new CniError(cniCodes.invalidEnvironment, `ARGS: invalid pair ${JSON.stringify(item)}`);
    }
    args.set(key, value);
  }
  return args;
}

/** The inverse of `parseArgs`. Pairs rather than a map, because Multus repeats keys. */
export function formatArgs(pairs: Iterable<readonly [string, string]>): string {
  return Array.from(pairs, ([key, value]) => `${key}=${value}`).join(";");
}

/** The Pod that kubelet's runtimes name, or undefined if no Pod is behind the call. */
export function podOf(args: ReadonlyMap<string, string>): PodRef | undefined {
  const namespace = args.get("K8S_POD_NAMESPACE") ?? "";
  const name = args.get("K8S_POD_NAME") ?? "";
  if (namespace === "" || name === "") return undefined;
  return { namespace, name, uid: args.get("K8S_POD_UID") ?? "" };
}
