// The chart as users get it: packaged, served by a repository, found by `helm repo add`.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, describe, it } from "node:test";
import { chart, helmWith, read } from "./render.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-repository-"));
const server = createServer((request, response) => {
  try {
    response.end(readFileSync(join(folder, basename(request.url ?? ""))));
  } catch {
    response.writeHead(404).end();
  }
});
after(async () => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a chart repository", () => {
  it("serves the packaged chart to helm repo add, with kinds and files", async () => {
    const home = {
      HELM_CONFIG_HOME: `${folder}/config`,
      HELM_CACHE_HOME: `${folder}/cache`,
      HELM_DATA_HOME: `${folder}/data`,
    };
    const helm = (...argv: readonly string[]) => helmWith(home, ...argv);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await helm("package", chart, "--destination", folder);
    await helm("repo", "index", folder, "--url", url);
    await helm("repo", "add", "spiderpool", url);
    await helm("repo", "update", "spiderpool");
    const flags = ["--set", "multus.multusCNI.defaultCniCRName=ovs-conf", "--set", "plugins.installOvsCNI=true"];
    const argv = ["spiderpool", "spiderpool/spiderpool", "--namespace", "kube-system", ...flags];
    const { get, all } = read(await helm("template", ...argv, "--include-crds"));
    assert.equal(get("ConfigMap", "spiderpool-conf").data.clusterNetwork, "ovs-conf");
    assert.equal(all("CustomResourceDefinition").length, readdirSync(join(chart, "crds")).length);
  });

  it("has a package that lint finds nothing in", async () => {
    assert.match(await helmWith({}, "lint", "--strict", chart), /0 chart\(s\) failed/);
  });
});
