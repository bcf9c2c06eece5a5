import { SpiderError } from "#base";
import type { OwnerReference, TopController } from "#kube";
import type { Manifest } from "../manifests.ts";

/** A Pod as a file describes it: itself, or by the template of what would make it. */
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
  /** The object itself, as it was written; undefined for a bare Pod. */
  readonly workload: Manifest | undefined;
  /** Objects of the same file on which its networks may depend, as `kind/name`. */
  readonly beside: readonly string[];
}

/** Where the kinds that make Pods have the template of one. */
const templatePaths: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};

/** Kinds on which the networks of a Pod depend: those in the file are not in the cluster yet, or are otherwise there. */
const deciding = [
  ...["SpiderIPPool", "SpiderSubnet", "SpiderReservedIP", "SpiderMultusConfig"],
  ...["NetworkAttachmentDefinition", "Namespace", "Node"],
];

/** The Pods that a file's objects are or would make; other objects are passed over. Throws OPTIONS_INVALID. */
export function podsOfFile(
  manifests: readonly Manifest[],
  filename: string,
  namespace: string,
): readonly PodManifest[] {
  const beside = manifests.flatMap(({ kind = "", metadata: { name = "" } }) =>
    deciding.includes(kind) ? [`${kind} ${name}`] : [],
  );
  const found = manifests.flatMap((manifest) => podOf(manifest, filename, namespace) ?? []);
  if (found.length > 0) return found.map((pod) => ({ ...pod, beside }));
  const kinds = Object.keys(templatePaths).join(", ");
  throw new SpiderError("OPTIONS_INVALID", `${filename} has no Pod and nothing that makes one (${kinds})`);
}

function podOf(
  manifest: Manifest,
  filename: string,
  defaultNamespace: string,
): Omit<PodManifest, "beside"> | undefined {
  const { kind = "", apiVersion = "v1", metadata } = manifest;
  const path = Object.hasOwn(templatePaths, kind) ? templatePaths[kind] : undefined;
  if (path === undefined) return undefined;
  const template = path.reduce<unknown>((at, key) => memberOf(at, key), manifest);
  const { name = String(memberOf(metadata, "generateName") ?? ""), namespace = defaultNamespace } = metadata;
  const own = memberOf(template, "metadata");
  const spec = memberOf(template, "spec");
  if (!isMap(spec)) throw new SpiderError("OPTIONS_INVALID", `${filename}: ${kind} ${name} has no spec of a Pod`);
  const where = `${filename}: ${kind} ${name}`;
  return {
    metadata: {
      ...{ namespace, name, ownerReferences: [] },
      labels: texts(memberOf(own, "labels"), `${where}: labels`),
      annotations: texts(memberOf(own, "annotations"), `${where}: annotations`),
    },
    spec: {
      ...(typeof spec["nodeName"] === "string" && { nodeName: spec["nodeName"] }),
      nodeSelector: texts(spec["nodeSelector"], `${where}: nodeSelector`),
      hostNetwork: spec["hostNetwork"] === true,
    },
    ...(kind === "Pod"
      ? { owner: undefined, workload: undefined }
      : { owner: ownerOf(apiVersion, kind, namespace, name), workload: manifest }),
  };
}

function ownerOf(apiVersion: string, kind: string, namespace: string, name: string): TopController {
  const [version = "", group = ""] = apiVersion.split("/").toReversed();
  return { apiGroup: group, apiVersion: version, kind, namespace, name, uid: "" };
}

function memberOf(value: unknown, key: string): unknown {
  return isMap(value) ? value[key] : undefined;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A map of texts, as the API server would take it. */
function texts(value: unknown, where: string): Readonly<Record<string, string>> {
  const entries = Object.entries(isMap(value) ? value : {});
  const wrong = entries.find(([, text]) => typeof text !== "string");
  if (wrong === undefined) return Object.fromEntries(entries) as Readonly<Record<string, string>>;
  throw new SpiderError(
    "OPTIONS_INVALID",
    `${where}: ${wrong[0]} is ${JSON.stringify(wrong[1])}; allowed is text, in quotation marks`,
  );
}
