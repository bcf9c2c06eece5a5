import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import type { RightsRule } from "../../lab/api/index.ts";

/**
 * The rules of the chart's ClusterRole and Role for a program. They are plain YAML inside the template, so that no Helm is
 * needed: all conditions count as true, and template expressions become names that match nothing.
 */
export function chartRights(program: "agent" | "controller"): readonly RightsRule[] {
  const file = new URL(`../../charts/spiderpool/templates/rbac-${program}.yaml`, import.meta.url);
  const text = readFileSync(file, "utf8")
    .replace(/^\s*\{\{.*\}\}$/gm, "")
    .replace(/\{\{.*?\}\}/g, "of-the-release");
  const rules = parseAllDocuments(text).flatMap((document) => document.toJS()?.rules ?? []) as readonly RightsRule[];
  // A list that an expression makes is a text without Helm: it would grant nothing.
  const isReadable = rules.length > 0 && rules.every((rule) => Object.values(rule).every(Array.isArray));
  if (isReadable) return rules;
  throw new Error(`${file.pathname} has no rules, or some that cannot be read without Helm`);
}
