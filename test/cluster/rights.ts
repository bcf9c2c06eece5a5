import { chartRights } from "../../scripts/common/chart-rights.ts";

/**
 * The rights that the chart gives agent and controller, bound to users of these names, for `kubectl apply`: so every suite
 * that runs the programs by hand is a test that these rights suffice.
 */
export function rightsManifest(): string {
  const items = (["agent", "controller"] as const).flatMap((program) => {
    const name = `spiderpool-${program}`;
    return [
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name },
        rules: chartRights(program),
      },
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
