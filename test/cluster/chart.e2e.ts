// The chart against a real kube-apiserver, without kubelets: what is rendered is accepted as it stands, hooks too. Run as
// process 1 of namespaces of its own (see scripts/cluster.ts).
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findHelm } from "../../lab/helm.ts";
import { findKubectl } from "../../lab/kubectl.ts";
import { createNetworks, enterLab, run } from "../../lab/topology/index.ts";
import { findBinaries } from "./binaries.ts";
import { startControlPlane } from "./control-plane.ts";

enterLab();
const directory = "/run/cluster";
mkdirSync(directory);
await createNetworks();
const plane = await startControlPlane({
  directory,
  binary: await findBinaries({ programs: ["kube-apiserver"], say: console.log }),
  controllers: false,
});
const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));
const [helmPath, kubectlPath] = await Promise.all([findHelm(), findKubectl("1.35")]);
const kubectl = (...argv: string[]) =>
  run([kubectlPath, "--kubeconfig", plane.admin, `--cache-dir=${directory}/cache`, ...argv]);
const helm = (...argv: string[]) => run([helmPath, "--kubeconfig", plane.admin, "-n", "kube-system", ...argv]);

const walkthrough = ["--set", "multus.multusCNI.defaultCniCRName=ovs-conf", "--set", "plugins.installOvsCNI=true"];

describe("a real API server", () => {
  it("accepts every object of the walk-through's installation, hooks too, without a warning", async () => {
    const rendered = `${directory}/rendered.yaml`;
    writeFileSync(rendered, await helm("template", "spiderpool", chart, "--include-crds", ...walkthrough));
    const crds = `${chart}/crds`;
    await kubectl("apply", "--server-side", "-f", crds);
    await kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s");
    const answer = await kubectl("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", rendered);
    for (const line of ["daemonset.apps/spiderpool-agent", "job.batch/spiderpool-init", "hook-pre-delete"]) {
      assert.ok(answer.includes(line), `${line} in ${answer}`);
    }
  });

  it("lets the release be installed, and a second installation is refused with the reason", async () => {
    await helm("install", "spiderpool", chart, "--no-hooks", ...walkthrough);
    const secret = () =>
      kubectl("-n", "kube-system", "get", "secret", "spiderpool-controller-server-certs", "-o", "yaml");
    const before = await secret();
    await helm("upgrade", "spiderpool", chart, "--no-hooks", "--reuse-values", "--set", "ipam.gc.enabled=false");
    assert.equal(await secret(), before);
    await assert.rejects(
      run([helmPath, "--kubeconfig", plane.admin, "-n", "default", "install", "other", chart, "--no-hooks"]),
      /the cluster has a Spiderpool already.*belongs to Helm release/s,
    );
    await helm("uninstall", "spiderpool", "--no-hooks");
  });
});
