import { SpiderError } from "#base";
import { keyOf } from "#kube";
import type { Context } from "./run.ts";

/** A Pod named on the command line. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** Reads `[namespace/]name`. Throws OPTIONS_INVALID for anything else. */
export function parsePodName(text: string, defaultNamespace: string): PodName {
  const [name = "", namespace = defaultNamespace, ...more] = text.split("/").toReversed();
  if (name !== "" && namespace !== "" && more.length === 0) return { namespace, name };
  throw new SpiderError("OPTIONS_INVALID", `"${text}" names no Pod: the form is [namespace/]name`);
}

/** `namespace/name` of a Pod, for the agent's API. Needs no kubeconfig, which a node may not have. */
export function podKey(text: string, { namespace = "default" }: Pick<Context, "namespace">): string {
  return keyOf(parsePodName(text, namespace));
}
