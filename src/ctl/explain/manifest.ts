import { isJsonObject, SpiderError } from "#base";
import { type OwnerReference, parseApiVersion, type TopController } from "#kube";
import type { Manifest, PlacedManifest } from "../manifests.ts";
import { memberOf, podKinds, templateIn } from "../pod-template.ts";

/** A Pod as a file describes it: by itself, or by the template of an object that would make it. */
export interface PodManifest {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly OwnerReference[];
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly nodeSelector?: Readonly<Record<string, string>>;
    readonly hostNetwork?: boolean;
  };
  /** Undefined for a bare Pod. */
  readonly owner: TopController | undefined;
  /** The object that would make it, as written in the file; undefined for a bare Pod. */
  readonly workload: Manifest | undefined;
}

/** The Pods that a file's objects are or would make; other objects are passed over. Throws OPTIONS_INVALID. */
export function podsOfFile(
  placed: readonly PlacedManifest[],
  filename: string,
  namespace: string,
): readonly PodManifest[] {
  const found = placed.flatMap((one) => podOf(one, namespace) ?? []);
  if (found.length > 0) return found;
  throw new SpiderError(
    "OPTIONS_INVALID",
    `${filename} has no Pod and nothing that makes one (${podKinds.join(", ")})`,
  );
}

function podOf({ manifest, placeOf }: PlacedManifest, defaultNamespace: string): PodManifest | undefined {
  const { kind = "", apiVersion = "v1", metadata } = manifest;
  const inside = templateIn(manifest);
  if (inside === undefined) return undefined;
  const { template, path } = inside;
  const { name = String(memberOf(metadata, "generateName") ?? ""), namespace = defaultNamespace } = metadata;
  const where = (...keys: readonly string[]) => placeOf([...path, ...keys].join("."));
  const who = `${kind}${name && ` ${name}`}`;
  const own = memberOf(template, "metadata");
  const spec = memberOf(template, "spec");
  if (!isJsonObject(spec)) throw new SpiderError("OPTIONS_INVALID", `${where("spec")}: ${who} has no spec of a Pod`);
  return {
    metadata: {
      namespace,
      name,
      ownerReferences: [],
      labels: texts(memberOf(own, "labels"), `${where("metadata", "labels")}: ${who}: labels`),
      annotations: texts(memberOf(own, "annotations"), `${where("metadata", "annotations")}: ${who}: annotations`),
    },
    spec: {
      ...(typeof spec["nodeName"] === "string" && { nodeName: spec["nodeName"] }),
      nodeSelector: texts(spec["nodeSelector"], `${where("spec", "nodeSelector")}: ${who}: nodeSelector`),
      hostNetwork: spec["hostNetwork"] === true,
    },
    ...(kind === "Pod"
      ? { owner: undefined, workload: undefined }
      : { owner: ownerOf(apiVersion, kind, namespace, name), workload: manifest }),
  };
}

function ownerOf(apiVersion: string, kind: string, namespace: string, name: string): TopController {
  const { group, version } = parseApiVersion(apiVersion);
  return { apiGroup: group, apiVersion: version, kind, namespace, name, uid: "" };
}

/** Labels or annotations: a map whose values the API server would only accept as texts. Throws OPTIONS_INVALID. */
function texts(value: unknown, where: string): Readonly<Record<string, string>> {
  const entries = Object.entries(isJsonObject(value) ? value : {});
  const wrong = entries.find(([, text]) => typeof text !== "string");
  if (wrong === undefined) return Object.fromEntries(entries) as Readonly<Record<string, string>>;
  throw new SpiderError(
    "OPTIONS_INVALID",
    `${where}: ${wrong[0]} is ${JSON.stringify(wrong[1])}; allowed is text, in quotation marks`,
  );
}
