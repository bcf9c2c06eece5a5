import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readMounted } from "./cluster.ts";
import { ippool, TestCluster } from "./explain/testing/cluster.ts";
import { runCtl } from "./testing/run.ts";

const forbidden = { kind: "status", status: 403, reason: "Forbidden" } as const;

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
