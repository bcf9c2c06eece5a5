import { SpiderError } from "#base";
import { ageOf } from "./age.ts";
import { parseJsonPath } from "./jsonpath.ts";
import type { Admitted, Column, Resource } from "./resource.ts";
import { applyDefaults, prune, type Schema, validate } from "./schema.ts";
import { at, fieldsAt, type KubeObject, listAt, numberAt, textAt } from "./types.ts";

/** The resources that a CustomResourceDefinition serves, one for each served version. Throws SpiderError LAB_BAD_CRD. */
export function customResources(crd: KubeObject): Resource[] {
  return listAt(crd, "spec", "versions")
    .filter((version) => at(version, "served") === true)
    .map((version) => customResource(crd, version));
}

/** The status that the API server gives to a definition which it serves. */
export function establishedStatus(crd: KubeObject, now: string): object {
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: "True",
    lastTransitionTime: now,
    reason,
    message,
  });
  const stored = listAt(crd, "spec", "versions").filter((version) => at(version, "storage") === true);
  return {
    conditions: [
      condition("NamesAccepted", "NoConflicts", "no conflicts found"),
      condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ],
    acceptedNames: at(crd, "spec", "names"),
    storedVersions: stored.map((version) => textAt(version, "name")),
  };
}

/** How many validation rules (CEL) a definition has. This server evaluates none of them. */
export function countRules(crd: KubeObject): number {
  let rules = 0;
  JSON.stringify(crd, (field, value: unknown) => {
    if (field === "x-kubernetes-validations" && Array.isArray(value)) rules += value.length;
    return value;
  });
  return rules;
}

function customResource(crd: KubeObject, version: unknown): Resource {
  const names = fieldsAt(crd, "spec", "names");
  const group = textAt(crd, "spec", "group");
  const plural = textAt(names, "plural");
  const kind = textAt(names, "kind");
  const schema = at(version, "schema", "openAPIV3Schema");
  if (crd.metadata.name !== `${plural}.${group}` || kind === "" || schema === undefined) {
    throw new SpiderError("LAB_BAD_CRD", "a CRD is named plural.group and has a kind and a schema in each version", {
      details: { crd: crd.metadata.name },
    });
  }
  const scale = at(version, "subresources", "scale");
  const path = (field: string) => textAt(scale, field).replace(/^\./, "");
  const status = at(version, "subresources", "status") !== undefined;
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
    status,
    statusAtCreate: false,
    subresources: { ...(status ? { status: kind } : {}), ...(scale === undefined ? {} : { scale: "Scale" }) },
    scale:
      scale === undefined
        ? undefined
        : {
            specReplicas: path("specReplicasPath"),
            statusReplicas: path("statusReplicasPath"),
            selector: path("labelSelectorPath") || undefined,
          },
    generation: true,
    selectable: listAt(version, "selectableFields").map((field) => textAt(field, "jsonPath").slice(1)),
    columns: customColumns(version),
    admit: (object) => admit(object, schema as Schema),
  };
}

function admit(object: KubeObject, schema: Schema): Admitted {
  const unknown = prune(object, schema);
  applyDefaults(object, schema);
  return { unknown, errors: validate(object, schema) };
}

function customColumns(version: unknown): Column[] {
  const defined = listAt(version, "additionalPrinterColumns");
  if (defined.length === 0) return [{ name: "Age", type: "date", priority: 0, cell: ageOf }];
  return defined.map((column): Column => {
    const find = parseJsonPath(textAt(column, "jsonPath"));
    const type = textAt(column, "type") as Column["type"];
    return {
      name: textAt(column, "name"),
      type,
      format: textAt(column, "format"),
      description: textAt(column, "description"),
      priority: numberAt(column, "priority"),
      cell: (object, nowMs) => cellOf(type, find(object)[0], nowMs),
    };
  });
}

/** Only `string` columns turn other values into text; elsewhere a value of another type leaves the cell empty. */
function cellOf(type: Column["type"], value: unknown, nowMs: number): unknown {
  if (value === undefined || value === null) return null;
  if (type === "string") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (type === "date") return typeof value === "string" ? ageOf(value, nowMs) : null;
  if (type === "boolean") return typeof value === "boolean" ? value : null;
  if (typeof value !== "number") return null;
  return type === "integer" ? Math.trunc(value) : value;
}
