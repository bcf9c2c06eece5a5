import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kubeconfigFor } from "../../lab/kubeconfig.ts";
import type { ServerKind } from "./server.ts";

/** Path of an administrator's kubeconfig for the API server beside which this process runs. */
export function kubeconfigOf(server: ServerKind): string {
  if (server === "real") return "/run/cluster/pki/admin.kubeconfig";
  const path = join(mkdtempSync(join(tmpdir(), "bench-")), "kubeconfig");
  writeFileSync(path, kubeconfigFor("http://10.222.0.1:6443"));
  return path;
}
