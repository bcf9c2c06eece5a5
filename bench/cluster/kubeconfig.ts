import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { kubeconfigFor } from "../../lab/tools/kubeconfig.ts";
import type { Surroundings } from "./server.ts";

/** Path of an administrator's kubeconfig for the API server in the same namespaces. */
export function kubeconfigOf({ server, folder }: Pick<Surroundings, "server" | "folder">): string {
  if (server === "real") return "/run/cluster/pki/admin.kubeconfig";
  const path = join(folder, "kubeconfig");
  writeFileSync(path, kubeconfigFor("http://10.222.0.1:6443"));
  return path;
}
