import type { LabelSelector } from "#api";
import type { Facts } from "./facts.ts";

/** One thing that the user can do. */
export interface Fix {
  /** In words. */
  readonly text: string;
  /** The same as a shell command; absent if only a person can decide what to write. */
  readonly command?: string;
  /** The node on which to run the command; absent: where kubectl is. */
  readonly node?: string;
}

/** Quotes words for a POSIX shell. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}

/** `kubectl patch` with a JSON merge patch, which replaces lists as a whole. */
export function patchCommand(target: readonly string[], patch: object): string {
  return shellLine(["kubectl", "patch", ...target, "--type=merge", "-p", JSON.stringify(patch)]);
}

/**
 * Adds the labels that a selector of `asker` asks for to an object, which is named as for `kubectl label`. Undefined if the
 * selector asks for the absence of a label.
 */
export function labelFix(
  target: readonly string[],
  selector: LabelSelector | undefined,
  asker: string,
): Fix | undefined {
  const wanted = new Map(Object.entries(selector?.matchLabels ?? {}));
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    if (operator !== "In" && operator !== "Exists") return undefined;
    if (!wanted.has(key)) wanted.set(key, values[0] ?? "");
  }
  const words = Array.from(wanted, ([key, value]) => `${key}=${value}`);
  const [kind = "", name = ""] = [target[0], target.at(-1)];
  return {
    text: `label ${kind === "pod" ? "Pod" : kind} ${name} as ${asker} asks`,
    command: shellLine(["kubectl", "label", ...target, "--overwrite", ...words]),
  };
}

/** The kinds that make Pods, and where their template's annotations are: the next Pod would lack one that only the Pod has. */
const templated: Readonly<Record<string, readonly string[]>> = {
  "apps Deployment": ["spec", "template"],
  "apps StatefulSet": ["spec", "template"],
  "apps DaemonSet": ["spec", "template"],
  "apps ReplicaSet": ["spec", "template"],
  "batch CronJob": ["spec", "jobTemplate", "spec", "template"],
};

/**
 * Sets annotations, and removes those whose value is undefined: in the template of what made the Pod or, for a bare Pod, on the
 * Pod itself. In words only if the Pod is not stored yet.
 */
export function annotationFix(
  { pod, owner }: Facts,
  text: string,
  values: Readonly<Record<string, string | undefined>>,
): Fix {
  const entries = Object.entries(values);
  if (pod.state === "new") {
    const changes = entries.map(([key, value]) =>
      value === undefined ? `leave ${key} out` : `${key}: ${JSON.stringify(value)}`,
    );
    return { text: `${text}: in the manifest, ${changes.join(", and ")}` };
  }
  if (owner === undefined) {
    const changes = entries.map(([key, value]) => (value === undefined ? `${key}-` : `${key}=${value}`));
    return {
      text,
      command: shellLine(["kubectl", "annotate", "pod", "-n", pod.namespace, pod.name, "--overwrite", ...changes]),
    };
  }
  const path = templated[`${owner.apiGroup} ${owner.kind}`];
  const what = `${owner.kind} ${owner.namespace}/${owner.name}`;
  if (path === undefined) return { text: `${text}, in the Pod template of ${what}` };
  const annotations = Object.fromEntries(entries.map(([key, value]) => [key, value ?? null]));
  const metadata = { metadata: { annotations } };
  const patch = path.reduceRight<object>((inner, member) => ({ [member]: inner }), metadata);
  const kind = owner.kind.toLowerCase();
  return {
    text: `${text}, in the Pod template of ${what}`,
    command: patchCommand([kind, "-n", owner.namespace, owner.name], patch),
  };
}
