import { parseAllDocuments } from "yaml";
import type { Submitted } from "#api";
import { SpiderError } from "#base";
import type { KubeObject } from "#kube";
import type { Io } from "./io.ts";

/** An object of a file, as a user would send it. */
export type Manifest = Submitted<KubeObject>;

/** The objects of a file, at least one, or of standard input for `-`. Throws OPTIONS_INVALID naming file and place. */
export async function readManifests(io: Pick<Io, "read">, filename: string): Promise<readonly Manifest[]> {
  const text = await io.read(filename).catch((cause: unknown) => {
    throw new SpiderError("OPTIONS_INVALID", `-f ${filename} cannot be read`, { cause });
  });
  const manifests = parseManifests(text, filename);
  if (manifests.length > 0) return manifests;
  throw new SpiderError("OPTIONS_INVALID", `${filename} has no object`);
}

/**
 * Judges a manifest by the rules of admission, which suppose the types of its kind's schema: the API server compares those
 * before. Throws OPTIONS_INVALID where a value is of another type.
 */
export function judged<T>({ kind, metadata }: Manifest, judge: () => T): T {
  try {
    return judge();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SpiderError(
      "OPTIONS_INVALID",
      `${kind} ${metadata.name}: a value is not of the type that its field has; \`kubectl apply --dry-run=server\` says which`,
    );
  }
}

/** The objects of a stream of YAML documents. Throws OPTIONS_INVALID naming the place. */
function parseManifests(text: string, filename: string): readonly Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    // Behind its first line it draws the place.
    const why = error?.message.split(":\n")[0];
    if (why !== undefined) throw new SpiderError("OPTIONS_INVALID", `${filename}: ${why}`);
    const value: unknown = document.toJS();
    if (value === null) return [];
    const all = isManifest(value) && value.kind === "List" ? value.items : [value];
    return all.map((one) => {
      if (isManifest(one)) return { ...one, metadata: one.metadata ?? {} };
      throw new SpiderError("OPTIONS_INVALID", `${filename}: a document is no Kubernetes object`);
    });
  });
}

/** As much of the shape as is relied on; the rules of its kind and the API server's schema judge the rest. */
function isManifest(value: unknown): value is Manifest & { readonly items: readonly unknown[] } {
  if (typeof value !== "object" || value === null) return false;
  const { kind, metadata = {}, spec = {}, items = [] } = value as Record<string, unknown>;
  return typeof kind === "string" && isMap(metadata) && isMap(spec) && Array.isArray(items);
}

function isMap(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
