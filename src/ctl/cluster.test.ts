import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readMounted } from "./cluster.ts";
import { ippool, TestCluster } from "./explain/testing/cluster.ts";
import { runCtl, runLine } from "./testing/run.ts";

const forbidden = { kind: "status", status: 403, reason: "Forbidden" } as const;

describe("a command where there is no kubeconfig", () => {
  const pool = {
    apiVersion: "spiderpool.spidernet.io/v2beta1",
    kind: "SpiderIPPool",
    metadata: { name: "a" },
    spec: { subnet: "10.6.0.0/16", ips: ["10.6.0.10"] },
  };
  const run = (...argv: readonly string[]) =>
    runLine(argv, { "a.yaml": JSON.stringify(pool) }, { env: { HOME: "/nonexistent" } });

  it("says that there is none, and what to do", async () => {
    const { status, err } = await run("check");
    assert.equal(status, 2);
    assert.match(err, /no kubeconfig: there is no \/nonexistent\/\.kube\/config.*--kubeconfig FILE/);
  });

  it("names first what is wrong with the command line", async () => {
    const { status, err } = await run("explain", "deployment", "web");
    assert.equal(status, 2);
    assert.match(err, /explain deployment web: give either/);
  });

  it("validates a file by itself, and says so", async () => {
    const { status, out, err } = await run("validate", "-f", "a.yaml");
    assert.deepEqual([status, out], [0, "spiderippool/a is valid\n"]);
    assert.match(err, /No kubeconfig: what the cluster has is not compared/);
  });
});

describe("a command in a Pod of the release", () => {
  it("knows the release's configuration without the right to list ConfigMaps", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "mounted-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, "conf.yml"), "enableIPv6: false");
    writeFileSync(join(folder, "clusterNetwork"), "other");
    const mounted = readMounted("kube-system", folder);
    const cluster = new TestCluster();
    cluster.network("other");
    cluster.pod("web", ippool({ ipv4: ["a"] }));
    cluster.api.fail(({ path }) => path.includes("configmaps"), forbidden, Number.POSITIVE_INFINITY);
    const { status, out } = await runCtl(cluster.api, ["explain", "pod", "web"], {}, { mounted });
    assert.equal(status, 0, out);
    assert.match(out, /eth0 from kube-system\/other/);
  });

  it("says where there are more rights, when the Pod's account has too few", async () => {
    const cluster = new TestCluster();
    cluster.api.fail(({ path }) => path.includes("spidersubnets"), forbidden);
    const { status, err } = await runCtl(
      cluster.api,
      ["explain", "pod", "web"],
      {},
      { mounted: { namespace: "n", data: {} } },
    );
    assert.equal(status, 2);
    assert.match(err, /\nCommands about the cluster: in the controller's Pod, or where kubectl has a kubeconfig/);
  });

  it("is outside of one where no configuration is mounted", () => {
    assert.equal(readMounted("kube-system", "/nonexistent"), undefined);
    assert.equal(readMounted(undefined, tmpdir()), undefined);
  });
});
