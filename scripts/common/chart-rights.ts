import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import type { RightsRule } from "../../lab/api/index.ts";

/**
 * The rules of the chart's ClusterRole and Role for a program. They are plain YAML inside the template, so that no Helm is
 * needed: all conditions count as true, an object's name that is a value is the chart's own value, and other template expressions
 * become names that match nothing.
 */
export function chartRights(program: "agent" | "controller"): readonly RightsRule[] {
  const file = new URL(`../../charts/spiderpool/templates/rbac-${program}.yaml`, import.meta.url);
  const values: unknown = parse(readFileSync(new URL("../values.yaml", file), "utf8"));
  const text = readFileSync(file, "utf8")
    .replace(/^\s*\{\{.*\}\}$/gm, "")
    .replace(/\{\{ base \.Values\.([\w.]+) \| toJson \}\}/g, (_, path: string) => basename(valueAt(values, path)))
    .replace(/\{\{.*?\}\}/g, "of-the-release");
  const rules = parseAllDocuments(text).flatMap((document) => document.toJS()?.rules ?? []) as readonly RightsRule[];
  // A list that an expression makes is a text without Helm: it would grant nothing.
  const isReadable = rules.length > 0 && rules.every((rule) => Object.values(rule).every(Array.isArray));
  if (isReadable) return rules;
  throw new Error(`${file.pathname} has no rules, or some that cannot be read without Helm`);
}

function valueAt(values: unknown, path: string): string {
  const value = path.split(".").reduce((at, key) => (at as Record<string, unknown> | undefined)?.[key], values);
  if (typeof value === "string") return value;
  throw new TypeError(`no text among the chart's values: ${path} is ${value}`);
}
