import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { programSelector } from "#api";
import { airgapArchive } from "../../images/airgap.ts";
import { chartImage } from "../../images/build.ts";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findHelm } from "../../lab/tools/helm.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { chart, installed, productImage, walkthroughFlags } from "../cluster/product.ts";
import { settled } from "./audit.ts";
import { manifests, type Suite, startBareSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod } from "./workloads.ts";

/** None is the default. */
const ownNames = {
  "global.nameOverride": "underlay",
  "global.configName": "settings",
  "spiderpoolAgent.name": "node-agent",
  "spiderpoolController.name": "the-leader",
  "spiderpoolInit.name": "first-steps",
};
const anyName = new RegExp(["spiderpool", "ovs-conf", ...Object.values(ownNames).slice(1)].join("|"));

describe("a release", () => {
  let suite: Suite;
  let cluster: LabHandle;
  let stage: Stage;
  let kubectl: Suite["kubectl"];
  let apply: Suite["apply"];
  let onNode: Suite["onNode"];
  before(async () => {
    suite = await startBareSuite("install", { bridges: true });
    ({ cluster, stage, kubectl, apply, onNode } = suite);
  });
  after(() => suite?.[Symbol.asyncDispose]());

  /** What a release may put onto a node; the lock file in /run stays, because removing one lets two hold it. */
  const nodeFiles = (node: string) =>
    onNode(
      node,
      "find /etc/cni/net.d /opt/cni/bin /var/lib/spiderpool /run/spiderpool /run/spidernet -type f ! -name owner 2>/dev/null | sort",
    );
  const nodeRules = (node: string) =>
    onNode(node, "ip rule; ip -6 rule; sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter");
  const ofCluster = () =>
    kubectl(
      "get",
      "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,flowschemas,prioritylevelconfigurations",
      "-o",
      "name",
    );
  const inNamespace = () =>
    kubectl(
      "get",
      "all,serviceaccounts,configmaps,secrets,leases,roles,rolebindings,net-attach-def",
      "-n",
      "kube-system",
      "-o",
      "name",
    );
  const works = async () => {
    await kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
    await apply(deployment("app", 3));
    await kubectl("rollout", "status", "deployment/app", "--timeout=300s");
    assert.match(await kubectl("get", "pods", "-l", "app=app", "-o", "wide"), /172\.18\.30\.13/);
    await kubectl("delete", "deployment/app", "--wait=true");
    await until("all Pods gone", async () => ((await kubectl("get", "pods", "-o", "name")) === "" ? true : undefined));
    await settled(suite);
  };
  let before1: readonly string[] = [];
  const footprint = async () => [
    await ofCluster(),
    ...(await Promise.all(cluster.nodes.flatMap(({ name }) => [nodeFiles(name), nodeRules(name)]))),
  ];

  it("with a registry that does not exist says so, and the next upgrade mends it", async () => {
    await kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=300s");
    before1 = await footprint();
    const wrong = ["--set", "global.imageRegistryOverride=registry.invalid:5000", "--timeout", "10s"];
    const { ok } = await stage.helm("install", "spiderpool", chart, ...walkthroughFlags, ...wrong);
    assert.equal(ok, false, "the hook cannot run");
    const waiting = "{.items[*].status.containerStatuses[*].state.waiting.reason}";
    await until("the Pods say why", async () =>
      /ErrImagePull|ImagePullBackOff/.test(
        await kubectl("get", "pods", "-n", "kube-system", "-o", `jsonpath=${waiting}`),
      )
        ? true
        : undefined,
    );
    stage.failures.length = 0;
    await stage.helm("upgrade", "--install", "spiderpool", chart, ...walkthroughFlags);
    await installed(stage);
    assert.deepEqual(stage.failures, []);
    await works();
  });

  /** Removes the release, and compares with what was before it. */
  async function leavesNothing(by: Stage): Promise<void> {
    await kubectl("delete", "smc/ovs-conf", "-n", "kube-system");
    await kubectl("delete", "sp/ippool-test", "--wait=false");
    await by.helm("uninstall", "spiderpool", "--namespace", "kube-system", "--wait", "--timeout", "120s");
    assert.deepEqual(by.failures, []);
    await until("our Pods are gone", async () =>
      anyName.test(await kubectl("get", "pods", "-n", "kube-system", "-o", "name")) ? undefined : true,
    );
    assert.deepEqual(await footprint(), before1);
    assert.doesNotMatch(await inNamespace(), anyName);
    await apply(pod("plain", { annotations: {} }));
    await kubectl("wait", "pod/plain", "--for=condition=Ready", "--timeout=300s");
    assert.match(await kubectl("get", "pod/plain", "-o", "jsonpath={.status.podIP}"), /^10\.244\./);
    await kubectl("delete", "pod/plain", "--wait=true");
  }

  it("that is removed leaves nothing but its definitions, and the node's former network works", async () => {
    await leavesNothing(stage);
  });

  /**
   * Loads the image onto nodes that do not have it any more, as the archive for clusters without internet does: the path of its
   * chart, and the image's digest, which nodes know it by, too.
   */
  async function loadArchive(): Promise<{ readonly packed: string; readonly digest: string }> {
    const { reference } = chartImage();
    const archive = airgapArchive({ archive: readFileSync(await productImage()), reference, sbom: "{}" });
    execFileSync("tar", ["--extract", "--directory", cluster.directory], { input: archive });
    const folder = join(cluster.directory, "spiderpool-airgap");
    const digestOf = `ctr -n k8s.io images ls name==${reference} | awk 'NR == 2 { print $3 }'`;
    const load = `digest=$(${digestOf})
      ctr -n k8s.io images rm --sync $(ctr -n k8s.io images ls | awk -v digest=$digest '$3 == digest { print $1 }') >&2
      [ -z "$(${digestOf})" ]
      sh ${folder}/load.sh >&2
      digest=$(${digestOf})
      ctr -n k8s.io images tag ${reference} ${reference.replace(/:[^:/]*$/, "")}@$digest >&2
      echo $digest`;
    const digests = await Promise.all(cluster.nodes.map(({ name }) => onNode(name, `set -e; ${load}`)));
    assert.match(digests[0] ?? "", /^sha256:[0-9a-f]{64}\n$/);
    return { packed: join(folder, "spiderpool-chart.tgz"), digest: digests[0]?.trim() ?? "" };
  }

  it("comes back after its removal, from the archive for clusters without internet, pinned by digest, by Helm 3, under names of its own and with the reference plugins that a node lacks, and is removed again", async () => {
    const helm3 = new Stage({
      lab: cluster,
      kubectl: await findKubectl("1.35"),
      helm: await findHelm(3),
      print: () => {},
    });
    assert.match((await helm3.helm("version", "--short")).stdout, /^v3\./);
    const plugins = () => onNode("node1", "cd /opt/cni/bin; sha256sum bridge sbr; stat -c %a sbr");
    const before = await plugins();
    await Promise.all(cluster.nodes.map(({ name }) => onNode(name, "rm /opt/cni/bin/sbr")));
    const { packed, digest } = await loadArchive();
    const names = Object.entries(ownNames).map(([key, name]) => `${key}=${name}`);
    const values = ["plugins.installCNI=true", `spiderpoolAgent.image.digest=${digest}`, ...names].flatMap((one) => [
      "--set",
      one,
    ]);
    await helm3.helm("install", "spiderpool", packed, ...walkthroughFlags, ...values);
    await installed(stage);
    assert.deepEqual(helm3.failures, []);
    const images = ["-n", "kube-system", "-l", programSelector("agent"), "-o"];
    assert.match(await kubectl("get", "pods", ...images, "jsonpath={.items[*].spec.containers[*].image}"), /@sha256:/);
    assert.equal(await plugins(), before, "the image has the same package's");
    await works();
    const inController = ["exec", "-n", "kube-system", "deploy/the-leader", "--", "spiderpoolctl"];
    // With digest and tag side by side, too, which cannot be compared.
    const told = await stage.quiet(...inController, "doctor");
    assert.match(`${told.stdout}${told.stderr}`, /^Nothing was found/);
    const inAgent = ["exec", "-n", "kube-system", "daemonset/node-agent", "--", "spiderpoolctl"];
    assert.match(
      await kubectl(...inAgent, "node", "status", "--local"),
      /^Controller +image v\S+, the agent's is sha256:[0-9a-f]{64}$/m,
    );
    await helm3.helm(
      "upgrade",
      "spiderpool",
      chart,
      "--namespace",
      "kube-system",
      "--reuse-values",
      "--set",
      "ipam.gc.enabled=false",
    );
    await installed(stage);
    await helm3.helm("rollback", "spiderpool", "1", "--namespace", "kube-system");
    await installed(stage);
    await works();
    // What was not there when it was installed goes with it; the node's own stays.
    before1 = before1.map((part) => part.replaceAll("/opt/cni/bin/sbr\n", ""));
    await leavesNothing(helm3);
  });
});
