// The chart against a real kube-apiserver, without kubelets: what is rendered is accepted as it stands, hooks too. Run as
// process 1 of namespaces of its own (see scripts/cluster.ts).
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findHelm } from "../../lab/helm.ts";
import { findKubectl } from "../../lab/kubectl.ts";
import { run } from "../../lab/topology/index.ts";
import { directory, startApiServer } from "./api-server.ts";

const plane = await startApiServer();
const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));
const [helmPath, kubectlPath] = await Promise.all([findHelm(), findKubectl("1.35")]);
const kubectl = (...argv: string[]) =>
  run([kubectlPath, "--kubeconfig", plane.admin, `--cache-dir=${directory}/cache`, ...argv]);
const helm = (...argv: string[]) => run([helmPath, "--kubeconfig", plane.admin, "-n", "kube-system", ...argv]);

const walkthrough = ["--set", "multus.multusCNI.defaultCniCRName=ovs-conf", "--set", "plugins.installOvsCNI=true"];

/** What a user adds to a workload, in every place that has room. */
const additions = {
  extraArgs: ["--more"],
  extraEnv: [{ name: "MORE", value: "1" }],
  extraVolumes: [{ name: "more", emptyDir: {} }],
  extraVolumeMounts: [{ name: "more", mountPath: "/more" }],
  securityContext: { seLinuxOptions: { type: "spc_t" } },
  affinity: {
    podAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "{{ .Release.Name }}" } } },
      ],
    },
  },
};

describe("a real API server", () => {
  it("lets nobody install who may not make kinds, says so, and nothing is there afterwards", async () => {
    await kubectl("create", "rolebinding", "tenant", "-n", "kube-system", "--clusterrole=admin", "--user=tenant");
    const tenant = await plane.user("tenant");
    const install = ["-n", "kube-system", "install", "spiderpool", chart, "--no-hooks"];
    await assert.rejects(
      run([helmPath, "--kubeconfig", tenant, ...install]),
      /customresourcedefinitions\.apiextensions\.k8s\.io.* is forbidden: User "tenant" cannot/s,
    );
    const left = await kubectl("get", "crd,daemonsets,deployments,secrets,clusterroles", "-A", "-o", "name");
    assert.doesNotMatch(left, /spider/);
  });

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

  for (const [title, values] of [
    ["without Multus, whatever becomes of it", { multus: { multusCNI: { install: false, uninstall: true } } }],
    ["with the user's additions", { spiderpoolAgent: additions, spiderpoolController: additions }],
    ["with nothing tuned and nothing injected", { spiderpoolAgent: { tuneSysctlConfig: false } }],
    [
      "with everything switched on",
      {
        global: { commonLabels: { team: "net" }, distribution: "k3s" },
        spiderpoolAgent: { prometheus: { enabled: true }, networkResourcePlugin: { enabled: true } },
        spiderpoolController: {
          replicas: 3,
          hostnetwork: false,
          prometheus: { enabled: true },
          podDisruptionBudget: { enabled: true },
          podResourceInject: { enabled: true, namespacesInclude: ["ai"] },
        },
        clusterDefaultPool: { installIPv4IPPool: true, ipv4Subnet: "172.18.0.0/16" },
      },
    ],
  ] as const) {
    it(`accepts the objects ${title}`, async () => {
      const [file, rendered] = [`${directory}/values.json`, `${directory}/rendered.yaml`];
      writeFileSync(file, JSON.stringify(values));
      writeFileSync(rendered, await helm("template", "spiderpool", chart, "--values", file));
      await kubectl("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", rendered);
    });
  }

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

  it("tells of a Multus that is there already, before anything is installed", async () => {
    const template = {
      metadata: { labels: { app: "multus" } },
      spec: { containers: [{ name: "multus", image: "multus" }] },
    };
    const spec = { selector: { matchLabels: { app: "multus" } }, template };
    const metadata = { name: "kube-multus-ds", namespace: "kube-system" };
    writeFileSync(`${directory}/ds.json`, JSON.stringify({ apiVersion: "apps/v1", kind: "DaemonSet", metadata, spec }));
    await kubectl("apply", "-f", `${directory}/ds.json`);
    const install = ["install", "spiderpool", chart, "--no-hooks"];
    await assert.rejects(helm(...install), /kube-multus-ds installs Multus on the nodes.*multusCNI\.install=false/s);
    assert.equal(await kubectl("get", "daemonset", "spiderpool-agent", "-n", "kube-system", "--ignore-not-found"), "");
    await helm(...install, "--set", "multus.multusCNI.install=false");
    await helm("uninstall", "spiderpool", "--no-hooks");
  });
});
