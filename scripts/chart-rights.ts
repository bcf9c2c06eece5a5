import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { RightsRule } from "../lab/api/index.ts";

/** The rules of the chart's ClusterRole for a program: plain YAML inside the template, so that no Helm is needed. */
export function chartRights(program: "agent" | "controller"): readonly RightsRule[] {
  const file = new URL(`../charts/spiderpool/templates/rbac-${program}.yaml`, import.meta.url);
  const [, text = ""] = /^kind: ClusterRole$.*?^rules:\n(.*?)^(?:---| *\{\{)/ms.exec(readFileSync(file, "utf8")) ?? [];
  const rules: unknown = parse(text);
  if (Array.isArray(rules) && rules.length > 0) return rules;
  throw new Error(`${file.pathname} has no rules of a ClusterRole that can be read without Helm`);
}
