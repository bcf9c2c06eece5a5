import { readFileSync } from "node:fs";
import { parse } from "yaml";

/**
 * The rights that the chart gives agent and controller, bound to users of these names, for `kubectl apply`: so every suite
 * that runs the programs by hand is a test that these rights suffice.
 */
export function rightsManifest(): string {
  const items = ["agent", "controller"].flatMap((program) => {
    const name = `spiderpool-${program}`;
    return [
      { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules: rulesOf(program) },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: { name },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name }],
      },
    ];
  });
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

/** The rules of the program's ClusterRole: plain YAML inside the chart's template. */
function rulesOf(program: string): unknown {
  const file = new URL(`../../charts/spiderpool/templates/rbac-${program}.yaml`, import.meta.url);
  const [, text = ""] = /^kind: ClusterRole$.*?^rules:\n(.*?)^(?:---|\{\{)/ms.exec(readFileSync(file, "utf8")) ?? [];
  const rules: unknown = parse(text);
  if (Array.isArray(rules) && rules.length > 0) return rules;
  throw new Error(`${file.pathname} has no rules of a ClusterRole that can be read without Helm`);
}
