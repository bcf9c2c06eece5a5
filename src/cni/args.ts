import { CniError, cniCodes } from "./errors.ts";
import { argsBytesMax } from "./limits.ts";
import type { PodRef } from "./types.ts";

/**
 * Parses CNI_ARGS (`K=V;K=V`). The order is kept; a repeated key has its last value. Unknown keys are accepted, with or
 * without IgnoreUnknown. Throws CniError 4 for a text that is too long, and for an item without exactly one `=`: the format
 * has no escapes, so a value can contain neither `;` nor `=`.
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
    const at = item.indexOf("=");
    if (at < 0 || item.includes("=", at + 1)) {
      throw new CniError(cniCodes.invalidEnvironment, `ARGS: invalid pair ${JSON.stringify(item)}`);
    }
    args.set(item.slice(0, at), item.slice(at + 1));
  }
  return args;
}

/** The inverse of {@link parseArgs}. Takes pairs rather than a map, because Multus repeats keys. */
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
