/** A kubeconfig for a plain HTTP server. */
export function kubeconfigFor(server: string): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "lab", cluster: { server } }],
    users: [{ name: "lab", user: {} }],
    contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
    "current-context": "lab",
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
