import { SpiderError } from "#base";
import { ageOf } from "../printing/age.ts";
import { parsePath } from "../printing/path.ts";
import { type Column, copyOf, type Resource } from "../resource.ts";
import { at, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "../types.ts";
import { applyDefaults, checkRules, prune, type Schema, unknownKeyword, validate } from "./schema.ts";

/** The resources that a CustomResourceDefinition serves, one for each served version. Throws SpiderError LAB_BAD_CRD. */
export function customResources(crd: KubeObject): Resource[] {
  return listAt(crd, "spec", "versions")
    .filter((version) => at(version, "served") === true)
    .map((version) => customResource(crd, version));
}

/** The status that the API server gives to a definition which it serves. */
export function establishedStatus(crd: KubeObject, now: string): object {
  const condition = (type: string, reason: string) => ({ type, status: "True", lastTransitionTime: now, reason });
  const stored = listAt(crd, "spec", "versions").filter((version) => at(version, "storage") === true);
  return {
    conditions: [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
    acceptedNames: at(crd, "spec", "names"),
    storedVersions: stored.map((version) => textAt(version, "name")),
  };
}

function customResource(crd: KubeObject, version: unknown): Resource {
  const names = fieldsAt(crd, "spec", "names");
  const group = textAt(crd, "spec", "group");
  const plural = textAt(names, "plural");
  const kind = textAt(names, "kind");
  const schema = fieldsAt(version, "schema", "openAPIV3Schema") as Schema;
  const foreign = unknownKeyword(schema);
  if (crd.metadata.name !== `${plural}.${group}` || kind === "" || foreign !== undefined) {
    const why =
      foreign === undefined ? "it needs a kind and the name plural.group" : `the lab does not obey ${foreign}`;
    throw new SpiderError("LAB_BAD_CRD", why, { details: { crd: crd.metadata.name } });
  }
  return {
    group,
    version: textAt(version, "name"),
    plural,
    singular: textAt(names, "singular") || kind.toLowerCase(),
    kind,
    namespaced: textAt(crd, "spec", "scope") === "Namespaced",
    shortNames: listAt(names, "shortNames").map(String),
    categories: listAt(names, "categories").map(String),
    table: `${group}/${plural}`,
    custom: true,
    subresources: at(version, "subresources", "status") === undefined ? [] : ["status"],
    selectable: [],
    columns: customColumns(version),
    schema,
    admit: (object, previous) => {
      const unknown = prune(object, schema);
      applyDefaults(object, schema);
      const errors = validate(object, schema);
      return { unknown, errors: errors.length > 0 ? errors : checkRules(object, previous, schema) };
    },
    malformed: (object) => {
      const copy = copyOf(object) as unknown as KubeObject;
      prune(copy, schema);
      applyDefaults(copy, schema);
      return validate(copy, schema);
    },
  };
}

function customColumns(version: unknown): Column[] {
  const defined = listAt(version, "additionalPrinterColumns");
  if (defined.length === 0) return [{ name: "Age", type: "date", priority: 0, cell: ageOf }];
  return defined.map((column): Column => {
    const path = parsePath(textAt(column, "jsonPath"));
    const type = textAt(column, "type") as Column["type"];
    return {
      name: textAt(column, "name"),
      type,
      priority: numberAt(column, "priority"),
      cell: (object, nowMs) => cellOf(type, at(object, ...path), nowMs),
    };
  });
}

/** Only `string` columns turn other values into text; elsewhere a value of another type leaves the cell empty. */
function cellOf(type: Column["type"], value: unknown, nowMs: number): unknown {
  if (value === undefined || value === null) return null;
  if (type === "string") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (type === "date") return typeof value === "string" ? ageOf(value, nowMs) : null;
  return typeof value === (type === "integer" ? "number" : type) ? value : null;
}
