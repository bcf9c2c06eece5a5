import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { silentLogger } from "#base";
import { createApiServer, type Listener } from "../../lab/api/index.ts";
import { kubeconfigFor } from "../../lab/tools/kubeconfig.ts";
import { type Api, apiOf } from "./api.ts";
import { prepare, semantics } from "./semantics.ts";
import { stores } from "./stores.ts";

describe("the lab's API server", () => {
  const folder = mkdtempSync(join(tmpdir(), "spiderpool-conformance-"));
  let listener: Listener;
  let api: Api;
  before(async () => {
    listener = await createApiServer({ log: silentLogger }).listen();
    writeFileSync(join(folder, "kubeconfig"), kubeconfigFor(listener.url));
    api = apiOf(join(folder, "kubeconfig"));
    await prepare(api);
  });
  after(async () => {
    await listener.close();
    rmSync(folder, { recursive: true });
  });
  semantics(() => api);
  stores(() => join(folder, "kubeconfig"));
});
