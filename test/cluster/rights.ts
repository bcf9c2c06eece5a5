/** The least that agent and controller can work with, as ClusterRoles bound to users of these names. */
const ours = "spiderpool.spidernet.io";
const read = ["get", "list", "watch"];

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const rules: Readonly<Record<string, readonly Rule[]>> = {
  "spiderpool-agent": [
    { apiGroups: [""], resources: ["pods", "nodes", "namespaces"], verbs: read },
    { apiGroups: [""], resources: ["pods/status", "nodes/status"], verbs: ["patch"] },
    { apiGroups: [""], resources: ["events"], verbs: ["create"] },
    { apiGroups: ["apps"], resources: ["deployments", "replicasets", "statefulsets", "daemonsets"], verbs: ["get"] },
    { apiGroups: ["batch"], resources: ["jobs", "cronjobs"], verbs: ["get"] },
    {
      apiGroups: [ours],
      resources: ["spiderippools", "spiderreservedips", "spidersubnets", "spidercoordinators", "spidermultusconfigs"],
      verbs: read,
    },
    { apiGroups: [ours], resources: ["spideripaddresses"], verbs: [...read, "create", "update", "delete"] },
    { apiGroups: [ours], resources: ["spiderpoolusages"], verbs: [...read, "create", "update", "patch"] },
    { apiGroups: [ours], resources: ["spiderendpoints"], verbs: [...read, "create", "update", "patch", "delete"] },
    { apiGroups: ["k8s.cni.cncf.io"], resources: ["network-attachment-definitions"], verbs: read },
  ],
  "spiderpool-controller": [
    { apiGroups: [""], resources: ["pods", "nodes", "namespaces", "configmaps", "services"], verbs: read },
    { apiGroups: [""], resources: ["events"], verbs: ["create"] },
    { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"] },
    { apiGroups: [ours], resources: ["*"], verbs: [...read, "create", "update", "patch", "delete"] },
    // Where the cluster's own ranges are found.
    { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list"] },
    { apiGroups: ["crd.projectcalico.org"], resources: ["ippools"], verbs: ["list"] },
    { apiGroups: ["cilium.io"], resources: ["ciliumpodippools"], verbs: ["list"] },
    {
      apiGroups: ["k8s.cni.cncf.io"],
      resources: ["network-attachment-definitions"],
      verbs: [...read, "create", "update", "patch", "delete"],
    },
  ],
};

/** The objects that give these rights, for `kubectl apply`. */
export function rightsManifest(): string {
  const items = Object.entries(rules).flatMap(([name, rules]) => [
    { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name }],
    },
  ]);
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}
