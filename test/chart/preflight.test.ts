// What the chart asks a cluster before it renders anything, against an API server that has just enough to be asked.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chart, helmWith } from "./render.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-preflight-"));
let version = "";
const kubeSystem = { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-system" } };
const namespaces = {
  name: "namespaces",
  singularName: "namespace",
  namespaced: false,
  kind: "Namespace",
  verbs: ["get"],
};
const answers: Readonly<Record<string, () => object>> = {
  "/version": () => ({ major: "1", minor: version.split(".")[1], gitVersion: version }),
  "/api": () => ({ kind: "APIVersions", versions: ["v1"] }),
  "/apis": () => ({ kind: "APIGroupList", apiVersion: "v1", groups: [] }),
  "/api/v1": () => ({ kind: "APIResourceList", groupVersion: "v1", resources: [namespaces] }),
  "/api/v1/namespaces/kube-system": () => kubeSystem,
};
const server = createServer((request, response) => {
  const answer = answers[(request.url ?? "").replace(/\?.*/, "")];
  const status = { apiVersion: "v1", kind: "Status", status: "Failure", reason: "NotFound", code: 404 };
  response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer?.() ?? status));
});

describe("the chart: what it asks of a cluster", () => {
  before(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  after(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("refuses a Kubernetes that is too old for our kinds, and says which one will do", async () => {
    const config = join(folder, "kubeconfig");
    const context = { cluster: "c", user: "u" };
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    writeFileSync(
      config,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "x",
        contexts: [{ name: "x", context }],
        clusters: [{ name: "c", cluster: { server: url } }],
        users: [{ name: "u", user: {} }],
      }),
    );
    const render = (of: string) => {
      version = of;
      return helmWith({ KUBECONFIG: config }, "template", "spiderpool", chart, "--dry-run=server").catch(String);
    };
    assert.match(
      await render("v1.30.14"),
      /runs Kubernetes v1\.30\.14: 1\.31 is the oldest that .*; upgrade the cluster/,
    );
    assert.doesNotMatch(await render("v1.31.0-eks-1"), /1\.31 is the oldest/);
  });
});
