import {
  type Document,
  type DocumentOptions,
  isNode,
  isScalar,
  isMap as isYamlMap,
  LineCounter,
  type ParseOptions,
  parseAllDocuments,
  type SchemaOptions,
  visit,
} from "yaml";
import type { Submitted } from "#api";
import { isJsonObject, SpiderError } from "#base";
import type { KubeObject } from "#kube";
import type { Io } from "./io.ts";

/** An object of a file, as a user would send it. */
export type Manifest = Submitted<KubeObject>;

/** An object of a file with its place in the file. */
export interface PlacedManifest {
  readonly manifest: Manifest;
  /** The place (`pool.yaml, line 7`) of a field like `spec.ips[0]`, or of the nearest enclosing one that the file has. */
  readonly placeOf: (field: string) => string;
}

/** The objects of what `-f` names, at least one. Throws OPTIONS_INVALID naming file and place. */
export async function readManifests(io: Pick<Io, "read">, filename: string): Promise<readonly PlacedManifest[]> {
  const files = await io.read(filename).catch((cause: unknown) => {
    throw new SpiderError("OPTIONS_INVALID", `-f ${filename} cannot be read`, { cause });
  });
  const manifests = files.flatMap(({ name, text }) => parseManifests(text, name));
  if (manifests.length > 0) return manifests;
  throw new SpiderError("OPTIONS_INVALID", `${filename} has no object`);
}

/** Throws OPTIONS_INVALID naming the place of an object without a name, which cannot be among those of a cluster. */
export function checkNamed(placed: readonly PlacedManifest[]): void {
  const nameless = placed.find(({ manifest }) => manifest.metadata.name === undefined);
  if (nameless === undefined) return;
  const { manifest, placeOf } = nameless;
  throw new SpiderError("OPTIONS_INVALID", `${placeOf("")}: this ${manifest.kind} has no name`);
}

/**
 * As kubectl reads YAML: `yes`, `off` and `010` are what YAML 1.1 says, so that a label of that value has to be quoted. But times and
 * numbers of base 60 are text.
 */
const asKubectl: ParseOptions & DocumentOptions & SchemaOptions = {
  schema: "yaml-1.1",
  customTags: (tags) =>
    tags.filter((tag) => typeof tag === "string" || (tag.format !== "TIME" && !isTimestamp(tag.tag))),
};

function isTimestamp(tag: string): boolean {
  return tag.endsWith(":timestamp");
}

/** The objects of a stream of YAML documents, those of Lists among them. Throws OPTIONS_INVALID naming the place. */
function parseManifests(text: string, filename: string): readonly PlacedManifest[] {
  const lines = new LineCounter();
  return parseAllDocuments(text, { ...asKubectl, lineCounter: lines }).flatMap((document) => {
    const [error] = document.errors;
    // Behind its first line it draws the place.
    const why = error?.message.split(":\n")[0];
    if (why !== undefined) throw new SpiderError("OPTIONS_INVALID", `${filename}: ${why}`);
    const placeAt = (offset: number) =>
      `${filename === "-" ? "standard input" : filename}, line ${lines.linePos(offset).line}`;
    const value = plain(document, placeAt);
    if (value === null) return [];
    const isList = isManifest(value) && value.kind === "List";
    return (isList ? value.items : [value]).map((one, at): PlacedManifest => {
      const path = isList ? ["items", at] : [];
      const placeOf = (field: string) => placeAt(offsetOf(document, [...path, ...partsOf(field)]));
      if (isManifest(one)) return { manifest: { ...one, metadata: one.metadata ?? {} }, placeOf };
      throw new SpiderError(
        "OPTIONS_INVALID",
        `${placeOf("")}: this is no Kubernetes object, with a kind, metadata and a spec`,
      );
    });
  });
}

/** The document as plain data. References to other parts of it may come to more than anybody could have meant. */
function plain(document: Document, placeAt: (offset: number) => string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    let offset = offsetOf(document, []);
    visit(document, {
      Alias: (_key, node) => {
        if (node.resolve(document) !== undefined) return undefined;
        offset = node.range?.[0] ?? offset;
        return visit.BREAK;
      },
    });
    throw new SpiderError("OPTIONS_INVALID", `${placeAt(offset)} cannot be used`, { cause });
  }
}

/** `spec.ips[0]`: `spec`, `ips`, 0; `metadata.labels[a.b/c]`: `metadata`, `labels`, `a.b/c`. */
function partsOf(field: string): readonly (string | number)[] {
  return [...field.matchAll(/\[([^\]]*)\]|[^.[\]]+/g)].map(([part, key = part]) =>
    /^\d+$/.test(key) ? Number(key) : key,
  );
}

/** The position of a member's name or an item. If the document does not have it, that of the nearest enclosing one. */
function offsetOf(document: Document, path: readonly (string | number)[]): number {
  const last = path.at(-1);
  const around = path.slice(0, -1);
  const parent = last === undefined ? undefined : document.getIn(around, true);
  const keys = isYamlMap(parent) ? parent.items.map(({ key }) => key) : [];
  const key = keys.find((one) => isScalar(one) && one.value === last);
  const found = key ?? document.getIn(path, true);
  if (isNode(found) && found.range) return found.range[0];
  return path.length === 0 ? (document.range?.[0] ?? 0) : offsetOf(document, around);
}

/** The part of the shape that this program relies on. The rules of the kind and its schema judge the rest. */
function isManifest(value: unknown): value is Manifest & { readonly items: readonly unknown[] } {
  if (typeof value !== "object" || value === null) return false;
  const { kind, metadata = {}, spec = {}, items = [] } = value as Record<string, unknown>;
  return typeof kind === "string" && isJsonObject(metadata) && isJsonObject(spec) && Array.isArray(items);
}
