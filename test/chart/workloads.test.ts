// The chart's contract, second half: workloads, certificates, old values.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parse, stringify } from "yaml";
import { chartRights } from "../../scripts/common/chart-rights.ts";
import { chart, envOf, helm, notes, podOf, type Rendered, read, refusal, render } from "./render.ts";

const folder = mkdtempSync(join(tmpdir(), "spiderpool-chart-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const valuesFile = (values: object) => {
  const path = join(mkdtempSync(join(folder, "values-")), "values.yaml");
  writeFileSync(path, stringify(values));
  return `--values=${path}`;
};
const agentOf = ({ get }: Rendered) => get("DaemonSet");
const controllerOf = ({ get }: Rendered) => get("Deployment");

describe("the chart: workloads", () => {
  it("has rules that can be read without Helm, as the lab does", () => {
    const names = chartRights("controller").flatMap(({ resourceNames = [] }) => resourceNames);
    for (const name of ["kubeadm-config", "cilium-config"]) assert.ok(names.includes(name), names.join());
  });

  it("lets the controller read Cilium's settings where the values say, and tells it where", async () => {
    const { all, text } = await render("global.ciliumConfigMap=cilium/settings");
    const names = all("ClusterRole").flatMap(({ rules = [] }) =>
      rules.flatMap(({ resourceNames = [] }: Rendered) => resourceNames),
    );
    assert.ok(names.includes("settings"), names.join());
    assert.match(text, /SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME\n +value: "?cilium\/settings/);
  });

  it("31. replaces tolerations as a whole, and adds to the node selector", async () => {
    const { pod } = podOf(
      agentOf(await render("spiderpoolAgent.tolerations[0].key=k", "spiderpoolAgent.nodeSelector.a=b")),
    );
    assert.deepEqual(pod.tolerations, [{ key: "k" }]);
    assert.deepEqual(pod.nodeSelector, { "kubernetes.io/os": "linux", a: "b" });
  });

  it("32. puts the user's additions where they belong", async () => {
    const additions = {
      extraArgs: ["--more"],
      extraEnv: [{ name: "MORE", value: "1" }],
      extraVolumes: [{ name: "more", emptyDir: {} }],
      extraVolumeMounts: [{ name: "more", mountPath: "/more" }],
      affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
      securityContext: { seLinuxOptions: { type: "spc_t" } },
    };
    const values = { spiderpoolAgent: additions, spiderpoolController: additions };
    const rendering = await render(valuesFile(values));
    for (const workload of [agentOf(rendering), controllerOf(rendering)]) {
      const { pod, container } = podOf(workload);
      assert.equal(container.args.at(-1), "--more");
      assert.equal(envOf(container)["MORE"], "1");
      assert.deepEqual(pod.volumes.at(-1), { name: "more", emptyDir: {} });
      assert.deepEqual(container.volumeMounts.at(-1), { name: "more", mountPath: "/more" });
      assert.deepEqual(pod.affinity, additions.affinity);
      assert.deepEqual(container.securityContext.seLinuxOptions, { type: "spc_t" });
      assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    }
    const init = podOf((await render(valuesFile({ spiderpoolInit: additions }))).get("Job", "spiderpool-init"));
    assert.equal(init.container.args.at(-1), "--more");
    assert.equal(envOf(init.container)["MORE"], "1");
  });

  it("33. has the agent's privileges whatever is tuned", async () => {
    const rendering = await render("spiderpoolAgent.tuneSysctlConfig=false");
    assert.equal(rendering.conf().tuneSysctlConfig, false);
    assert.equal(podOf(agentOf(rendering)).container.securityContext.privileged, true);
  });

  it("gives no privilege to programs that only use HTTP, and root to none but those that read the nodes' files", async () => {
    const contexts = async (...flags: readonly string[]) =>
      (await render(...flags)).objects
        .filter(({ kind }) => ["Deployment", "Job"].includes(kind))
        .map((one) => ({ name: one.metadata.name, context: podOf(one).container.securityContext }));
    const nobody = { runAsNonRoot: true, runAsUser: 65_532, runAsGroup: 65_532 };
    for (const network of ["", "ovs-conf"]) {
      const found = await contexts(`multus.multusCNI.defaultCniCRName=${network}`);
      assert.equal(found.length, 4, JSON.stringify(found));
      for (const { name, context } of found) {
        const isReader = name === "spiderpool-controller" || (name === "spiderpool-init" && network === "");
        assert.deepEqual(
          context,
          {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
            seccompProfile: { type: "RuntimeDefault" },
            ...(!isReader && nobody),
          },
          name,
        );
      }
    }
  });

  it("34. 41. moves the probes with their port, and leaves the host to the kubelet in a Pod's network", async () => {
    const probes = ["startupProbe", "livenessProbe", "readinessProbe"];
    const agent = podOf(agentOf(await render("spiderpoolAgent.httpPort=6710"))).container;
    assert.equal(envOf(agent)["SPIDERPOOL_HEALTH_PORT"], "6710");
    for (const probe of probes) assert.equal(agent[probe].httpGet.port, 6710);
    const { pod, container } = podOf(controllerOf(await render("spiderpoolController.hostnetwork=false")));
    assert.deepEqual([pod.hostNetwork, pod.dnsPolicy], [false, "ClusterFirst"]);
    for (const probe of probes) assert.equal(container[probe].httpGet.host, undefined);
  });

  it("binds each port where it is told, and has the kubelet ask there", async () => {
    const told = ["httpBindAddress=node", "webhookBindAddress=node", "prometheus.bindAddress=127.0.0.1"];
    const rendering = await render(
      ...told.map((one) => `spiderpoolController.${one}`),
      "spiderpoolAgent.prometheus.bindAddress=node",
    );
    const { container } = podOf(controllerOf(rendering));
    const bound = ({ env }: Rendered) =>
      Object.fromEntries(
        env
          .filter(({ name }: Rendered) => name.endsWith("_BIND_ADDRESS"))
          .map(({ name, value, valueFrom }: Rendered) => [name.split("_")[1], value ?? valueFrom.fieldRef.fieldPath]),
      );
    assert.deepEqual(bound(container), { HEALTH: "status.hostIP", WEBHOOK: "status.hostIP", METRIC: "127.0.0.1" });
    assert.equal(container.livenessProbe.httpGet.host, undefined, "the node's address is the Pod's");
    const agent = podOf(agentOf(rendering)).container;
    assert.deepEqual([bound(agent), agent.livenessProbe.httpGet.host], [{ METRIC: "status.hostIP" }, "127.0.0.1"]);
    const fixed = podOf(controllerOf(await render("spiderpoolController.httpBindAddress=10.0.0.9"))).container;
    assert.equal(fixed.livenessProbe.httpGet.host, "10.0.0.9");
    const local = "spiderpoolController.webhookBindAddress=127.0.0.1";
    assert.match(await refusal(local), /webhookBindAddress is 127.0.0.1: the API server does not reach it there/);
    const unknown = ["spiderpoolController.hostnetwork=false", "spiderpoolController.httpBindAddress=node"];
    assert.match(await refusal(...unknown), /httpBindAddress is node, and .*hostnetwork=false/);
    assert.match(await refusal("spiderpoolAgent.prometheus.bindAddress=eth0"), /prometheus\/bindAddress/);
    const plain = podOf(controllerOf(await render())).container;
    assert.deepEqual([bound(plain), plain.livenessProbe.httpGet.host], [{}, "127.0.0.1"]);
  });

  it("39. runs replicas on different nodes, guarded by a budget", async () => {
    const rendering = await render(
      "spiderpoolController.replicas=3",
      "spiderpoolController.podDisruptionBudget.enabled=true",
    );
    assert.equal(controllerOf(rendering).spec.replicas, 3);
    const { spec } = rendering.get("PodDisruptionBudget", "spiderpool-controller");
    assert.equal(spec.minAvailable, 1);
    const [{ weight, podAffinityTerm }] = podOf(controllerOf(rendering)).pod.affinity.podAntiAffinity
      .preferredDuringSchedulingIgnoredDuringExecution;
    assert.deepEqual([weight, podAffinityTerm.topologyKey], [100, "kubernetes.io/hostname"]);
    assert.deepEqual(controllerOf(rendering).spec.strategy.rollingUpdate, { maxSurge: 0, maxUnavailable: 1 });
  });

  it("40. moves admission with its port", async () => {
    const { get } = await render("spiderpoolController.webhookPort=6722");
    const { container } = podOf(get("Deployment"));
    assert.equal(envOf(container)["SPIDERPOOL_WEBHOOK_PORT"], "6722");
    const port = (ports: readonly Rendered[]) => ports.find(({ name }) => name === "webhook");
    assert.equal(port(container.ports).containerPort, 6722);
    assert.equal(port(get("Service", "spiderpool-controller").spec.ports).port, 6722);
    for (const kind of ["Mutating", "Validating"]) {
      for (const { clientConfig } of get(`${kind}WebhookConfiguration`).webhooks)
        assert.equal(clientConfig.service.port, 6722);
    }
  });

  it("42. never lets the webhook of Pods stop a Pod, or look at its own namespace", async () => {
    const inject = "spiderpoolController.podResourceInject";
    const { get } = await render("--namespace=here", `${inject}.enabled=true`, `${inject}.namespacesInclude={ai}`);
    const webhook = get("MutatingWebhookConfiguration").webhooks.at(-1);
    assert.deepEqual([webhook.name, webhook.failurePolicy], ["pods.spiderpool.spidernet.io", "Ignore"]);
    assert.ok(webhook.timeoutSeconds <= 3);
    const key = "kubernetes.io/metadata.name";
    const excluded = ["kube-system", "spiderpool", "metallb-system", "istio-system", "here"];
    assert.deepEqual(webhook.namespaceSelector.matchExpressions, [
      { key, operator: "NotIn", values: excluded },
      { key, operator: "In", values: ["ai"] },
    ]);
  });

  it("46. has no hook of removal where clean-up is off, by either name", async () => {
    for (const name of ["enable", "enabled"]) {
      const { all } = await render(`spiderpoolController.cleanup.${name}=false`);
      assert.ok(!all("Job").some(({ metadata }) => metadata.annotations["helm.sh/hook"] === "pre-delete"), name);
    }
  });

  it("50. renders for a Kubernetes without startup probes", async () => {
    const { container } = podOf(agentOf(await render("--kube-version=1.19.0")));
    assert.ok(!("startupProbe" in container) && "livenessProbe" in container);
  });

  it("knows the paths of other distributions, and lets the user's win", async () => {
    const { args } = podOf(agentOf(await render("global.distribution=k3s", "global.cniConfHostPath=/mine"))).container;
    assert.ok(args.includes("--cni-bin-dir=/var/lib/rancher/k3s/data/cni"));
    assert.ok(args.includes("--cni-conf-dir=/mine"));
    const microk8s = await render("global.distribution=microk8s", "spiderpoolAgent.networkResourcePlugin.enabled=true");
    assert.equal(
      microk8s.conf().agent.networkResourcePlugin.kubeletRootDir,
      "/var/snap/microk8s/common/var/lib/kubelet",
    );
    assert.match(await refusal("global.distribution=k4s"), /'k3s', 'rke2', 'k0s', 'microk8s'/);
  });

  it("gives the agent's doctor the node's settings to read, and nothing to write there", async () => {
    const { pod, container } = podOf(agentOf(await render()));
    for (const [name, path] of [
      ["host-etc", "/etc"],
      ["host-usr-lib", "/usr/lib"],
    ]) {
      const mount = container.volumeMounts.find((one: Rendered) => one.name === name);
      assert.deepEqual([mount.mountPath, mount.readOnly], [`/host${path}`, true]);
      assert.equal(pod.volumes.find((one: Rendered) => one.name === name).hostPath.path, path);
    }
  });

  it("finds Open vSwitch in another run directory", async () => {
    const { pod, container } = podOf(agentOf(await render("ovs.runDir=/usr/local/var/run/ovs")));
    assert.ok(container.args.includes("--ovsdb=unix:/host/run/ovs/db.sock"));
    const { hostPath } = pod.volumes.find(({ name }: Rendered) => name === "host-run");
    assert.equal(hostPath.path, "/usr/local/var/run");
  });

  it("starts new Pods when the settings change, and only then", async () => {
    const sum = (rendering: Rendered) => agentOf(rendering).spec.template.metadata.annotations["checksum/config"];
    const before = sum(await render());
    assert.notEqual(sum(await render("ipam.enableIPv6=false")), before);
    assert.equal(sum(await render("coordinator.mode=overlay")), before);
  });
});

describe("the chart: certificates", () => {
  it("43. passes a given certificate on as it is, and refuses an incomplete one", async () => {
    const tls = "spiderpoolController.tls";
    const given = [`${tls}.method=provided`, `${tls}.provided.tlsCert=Y2VydA==`, `${tls}.provided.tlsKey=a2V5`];
    const { get } = await render(...given, `${tls}.provided.tlsCa=Y2E=`);
    const { data } = get("Secret", "spiderpool-controller-server-certs");
    assert.deepEqual(data, { "ca.crt": "Y2E=", "tls.crt": "Y2VydA==", "tls.key": "a2V5" });
    for (const { clientConfig } of get("ValidatingWebhookConfiguration").webhooks)
      assert.equal(clientConfig.caBundle, "Y2E=");
    assert.match(await refusal(...given), /spiderpoolController\.tls\.provided\.tlsCa is empty/);
  });

  it("44. leaves certificates to cert-manager, with both webhook configurations", async () => {
    const tls = "spiderpoolController.tls";
    const rendering = await render(
      `${tls}.method=certmanager`,
      `${tls}.certmanager.issuerName=iss`,
      `${tls}.certmanager.extraDnsNames={a.example}`,
    );
    const { spec } = rendering.get("Certificate", "spiderpool-controller-server-certs");
    assert.deepEqual([spec.issuerRef.name, spec.dnsNames.at(-1)], ["iss", "a.example"]);
    assert.equal(rendering.get("Secret"), undefined);
    for (const kind of ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]) {
      const { metadata, webhooks } = rendering.get(kind);
      const from = metadata.annotations["cert-manager.io/inject-ca-from"];
      assert.equal(from, "kube-system/spiderpool-controller-server-certs");
      assert.equal(webhooks[0].clientConfig.caBundle, undefined);
    }
    assert.match(await refusal(`${tls}.method=certmanager`), /issuerName is empty/);
  });
});

describe("the chart: what it tells after the installation", () => {
  it("has the commands that explain a Pod and look for faults, in the release's own names", async () => {
    const said = await notes("spiderpoolController.name=ctl");
    assert.match(said, /exec deploy\/ctl -- spiderpoolctl explain pod NAME -n NAMESPACE\n/);
    assert.match(said, /exec deploy\/ctl -- spiderpoolctl doctor\n/);
  });

  it("has a remark on alerts whose metrics nobody serves", async () => {
    const rules = "spiderpoolController.prometheus.prometheusRule.install=true";
    assert.match(await notes(rules), /set spiderpoolController\.prometheus\.enabled=true, too/);
    assert.doesNotMatch(await notes(rules, "spiderpoolController.prometheus.enabled=true"), /PLEASE READ/);
  });
});

describe("the chart: values of other releases", () => {
  it("47. tells what is not shipped", async () => {
    const said = await notes("sriov.install=true", "rdma.rdmaSharedDevicePlugin.install=true", "sriov.image.any=x");
    assert.match(said, /sriov\.install is of a part that is not shipped/);
    assert.match(said, /rdma\.rdmaSharedDevicePlugin\.install is of a part that is not shipped/);
    assert.doesNotMatch(said, /sriov\.image/);
  });

  const old = {
    feature: {
      enableIPv4: false,
      enableIPv6: true,
      enableStatefulSet: false,
      enableSpiderSubnet: false,
      networkMode: "legacy",
      gc: { enabled: false, gcAll: { intervalInSecond: 77 }, GcDeletingTimeOutPod: { enabled: false, delay: 9 } },
      grafanaDashboard: { install: true },
    },
    clusterDefaultPool: { subnetDefaultFlexibleIPNumber: 3 },
    global: { ipamBinHostPath: "/old/bin", tuneSysctlConfig: false },
    spiderpoolInit: { hostnetwork: true, tolerations: [] },
    spiderpoolController: { cleanup: { enabled: false }, enablePodNetworkResourceInject: true },
  };

  it("48. takes the values of renamed keys, and lists every old key", async () => {
    const rendering = await render(valuesFile(old));
    const conf = rendering.conf();
    const { enableIPv4, enableStatefulSet, enableSpiderSubnet, tuneSysctlConfig, podResourceInject } = conf;
    assert.deepEqual(
      [enableIPv4, enableStatefulSet, enableSpiderSubnet, tuneSysctlConfig],
      [false, false, false, false],
    );
    assert.equal(podResourceInject.enabled, true);
    const env = envOf(podOf(controllerOf(rendering)).container);
    assert.equal(env["SPIDERPOOL_GC_IP_ENABLED"], "false");
    assert.equal(env["SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION"], "77");
    assert.equal(env["SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY"], "9");
    assert.ok(podOf(agentOf(rendering)).container.args.includes("--cni-bin-dir=/old/bin"));
    assert.ok(rendering.get("GrafanaDashboard") !== undefined);
    const said = await notes(valuesFile(old));
    for (const line of [
      "feature.enableIPv4 is called ipam.enableIPv4 now",
      "feature.gc.gcAll.intervalInSecond is called ipam.gc.gcAll.intervalInSecond now",
      "global.ipamBinHostPath is called global.cniBinHostPath now",
      "feature.networkMode is not a value of this chart",
      "spiderpoolInit.hostnetwork is not a value of this chart",
    ]) {
      assert.ok(said.includes(line), `${line} in ${said}`);
    }
  });

  it("lets a new key win over its old name", async () => {
    const rendering = await render(valuesFile({ feature: { enableIPv4: true }, ipam: { enableIPv4: false } }));
    assert.equal(rendering.conf().enableIPv4, false);
  });

  it("49. renders the same with no defaults of its own, as with --reuse-values of a release that lacks them", async () => {
    const bare = join(folder, "bare");
    await cp(chart, bare, { recursive: true });
    const template = async (values: object) => {
      writeFileSync(join(bare, "values.yaml"), stringify(values));
      return read(await helm("template", "spiderpool", bare, "-n", "kube-system")).objects;
    };
    const whole = (await render()).objects;
    assert.deepEqual(await template({}), whole);
    const values = parse(readFileSync(join(chart, "values.yaml"), "utf8"));
    const { networkResourcePlugin: _plugin, ...agent } = values.spiderpoolAgent;
    const { podResourceInject: _inject, ...controller } = values.spiderpoolController;
    const { ovs: _ovs, iaasNetworkProvider: _iaas, ...older } = values;
    assert.deepEqual(await template({ ...older, spiderpoolAgent: agent, spiderpoolController: controller }), whole);
    assert.deepEqual(
      await template({ coordinator: null, ipam: { gc: null }, spiderpoolAgent: { image: null } }),
      whole,
    );
  });

  it("takes our own tag in place of one of the former system that a values file pins, and says so", async () => {
    const imageWith = async (...flags: readonly string[]) => podOf(agentOf(await render(...flags))).container.image;
    for (const tag of ["v1.2.2", "1.0.4", "v0.9.0"]) {
      const flag = `spiderpoolAgent.image.tag=${tag}`;
      assert.equal(await imageWith(flag), "ghcr.io/spiderpool-ts/spiderpool:v0.1.0");
      const said = await notes(flag);
      assert.ok(
        said.includes(
          `image.tag is ${tag}, a version of another project: ghcr.io/spiderpool-ts/spiderpool:v0.1.0 is used`,
        ),
      );
    }
    assert.equal(await imageWith("spiderpoolAgent.image.tag=v0.1.1"), "ghcr.io/spiderpool-ts/spiderpool:v0.1.1");
    const own = ["spiderpoolAgent.image.repository=mine/image", "spiderpoolAgent.image.tag=v1.2.2"];
    assert.equal(await imageWith(...own), "ghcr.io/mine/image:v1.2.2");
  });

  it("takes our image in place of the former system's, which --reuse-values brings, and says so", async () => {
    const flags = ["Agent", "Controller", "Init"].flatMap((part) => [
      `spiderpool${part}.image.repository=spidernet-io/spiderpool/spiderpool-${part === "Agent" ? "agent" : "controller"}`,
      `spiderpool${part}.image.tag=v1.2.2`,
    ]);
    assert.deepEqual((await render(...flags)).objects, (await render()).objects);
    const mirror = "spiderpoolAgent.image.repository=mirror/spidernet-io/spiderpool/spiderpool-agent";
    const { image } = podOf(agentOf(await render(mirror))).container;
    assert.equal(image, "ghcr.io/mirror/spiderpool-ts/spiderpool:v0.1.0");
    const said = await notes(...flags);
    assert.match(
      said,
      /spiderpoolAgent\.image\.repository is spidernet-io\S+, another project's programs, which do not fit this chart: ghcr\.io\/spiderpool-ts\/spiderpool:v0\.1\.0 is used/,
    );
  });
});
