// The chart's contract, as users' flags and scripts rely on it. Numbered, so that the checks that need a
// cluster (test/cluster/chart.e2e.ts) and these are one list.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { readChartValues } from "../../scripts/generate/chart-values.ts";
import { chart, envOf, hostPaths, podOf, type Rendered, refusal, render } from "./render.ts";

const agentOf = ({ get }: Rendered) => get("DaemonSet");
const controllerOf = ({ get }: Rendered) => get("Deployment");
const initOf = ({ get }: Rendered) => get("Job", "spiderpool-init");
const images = (text: string) => [...text.matchAll(/ image: (\S+)$/gm)].map(([, image]) => image);
const webhooksOf = (rendering: Rendered) => [
  ...rendering.get("MutatingWebhookConfiguration").webhooks,
  ...rendering.get("ValidatingWebhookConfiguration").webhooks,
];
const webhookNames = (rendering: Rendered, kind: string) =>
  rendering.get(`${kind}WebhookConfiguration`).webhooks.map(({ name }: Rendered) => name.split(".")[0]);
const selectorLabels = ["app.kubernetes.io/component", "app.kubernetes.io/instance", "app.kubernetes.io/name"];
const byDefault = render();

describe("the chart: objects and names", () => {
  it("1. renders by default what an installation needs, and nothing that was not asked for", async () => {
    const { get, all, text } = await byDefault;
    for (const [kind, name] of [
      ["DaemonSet", "spiderpool-agent"],
      ["Deployment", "spiderpool-controller"],
      ["Service", "spiderpool-controller"],
      ["ServiceAccount", "spiderpool-agent"],
      ["ServiceAccount", "spiderpool-controller"],
      ["ServiceAccount", "spiderpool-init"],
      ["ConfigMap", "spiderpool-conf"],
      ["Secret", "spiderpool-controller-server-certs"],
      ["MutatingWebhookConfiguration", "spiderpool-controller"],
      ["ValidatingWebhookConfiguration", "spiderpool-controller"],
      ["Job", "spiderpool-controller-hook-pre-delete"],
    ] as const) {
      assert.ok(get(kind, name) !== undefined, `${kind} ${name}`);
    }
    const hook = initOf(await byDefault).metadata.annotations["helm.sh/hook"];
    assert.ok(hook.split(",").includes("post-install"));
    for (const kind of ["PodDisruptionBudget", "ServiceMonitor", "PrometheusRule", "GrafanaDashboard"]) {
      assert.deepEqual(all(kind), [], kind);
    }
    assert.equal(get("Service", "spiderpool-agent"), undefined);
    assert.doesNotMatch(text, /sriov-|rdma-shared/);
  });

  it("2. selects Pods by exactly three labels", async () => {
    for (const workload of [agentOf(await byDefault), controllerOf(await byDefault)]) {
      assert.deepEqual(Object.keys(workload.spec.selector.matchLabels).sort(), selectorLabels);
      const { labels } = workload.spec.template.metadata;
      for (const label of selectorLabels) assert.equal(labels[label], workload.spec.selector.matchLabels[label]);
    }
  });

  it("3. has the settings with their documented defaults", async () => {
    const rendering = await byDefault;
    const { ipamUnixSocketPath, podResourceInject, iaasNetworkProvider, agent, ...rest } = rendering.conf();
    assert.equal(ipamUnixSocketPath, "/var/run/spidernet/spiderpool.sock");
    assert.deepEqual(rest, {
      enableIPv4: true,
      enableIPv6: true,
      enableStatefulSet: true,
      enableKubevirtStaticIP: true,
      enableSpiderSubnet: true,
      enableAutoPoolForApplication: true,
      enableIPConflictDetection: false,
      enableGatewayDetection: false,
      enableCleanOutdatedEndpoint: false,
      enableStrictIPPoolScope: false,
      enableValidatingResourcesDeletedWebhook: false,
      clusterSubnetDefaultFlexibleIPNumber: 1,
      coolDown: 30,
      tuneSysctlConfig: true,
    });
    assert.deepEqual(podResourceInject, {
      enabled: false,
      namespacesExclude: ["kube-system", "spiderpool", "metallb-system", "istio-system"],
      namespacesInclude: [],
    });
    assert.deepEqual(iaasNetworkProvider, { serverUrl: "", httpRequestTimeout: "50s" });
    assert.equal(agent.networkResourcePlugin.enabled, false);
    assert.equal(rendering.get("ConfigMap", "spiderpool-conf").data.clusterNetwork, "");
  });

  it("4. puts everything into the release's namespace", async () => {
    const rendering = await render("--namespace=net-system");
    const namespaces = new Set(rendering.objects.flatMap(({ metadata }) => metadata.namespace ?? []));
    assert.deepEqual([...namespaces], ["net-system"]);
    for (const { clientConfig } of webhooksOf(rendering)) assert.equal(clientConfig.service.namespace, "net-system");
  });

  it("5. labels a release with its name, and names objects without it", async () => {
    const blue = await render("--release=blue");
    assert.equal(agentOf(blue).metadata.labels["app.kubernetes.io/instance"], "blue");
    const names = (rendering: Rendered) =>
      rendering.objects.flatMap(({ kind, metadata }: Rendered) =>
        metadata.namespace === undefined ? [] : [`${kind} ${metadata.name}`],
      );
    assert.deepEqual(names(blue), names(await byDefault));
  });

  it("6. takes every image from another registry", async () => {
    const { text } = await render("global.imageRegistryOverride=m.local/p");
    assert.ok(images(text).length >= 5);
    for (const image of images(text)) assert.match(image ?? "", /^m\.local\/p\//);
    const slash = await render("global.imageRegistryOverride=m.local/p/");
    assert.deepEqual(images(slash.text), images(text));
  });

  it("7. makes a reference of registry, repository, tag and digest", async () => {
    const image = async (...flags: readonly string[]) =>
      podOf(agentOf(await render("spiderpoolAgent.image.repository=a/b", ...flags))).container.image;
    assert.equal(await image("spiderpoolAgent.image.registry=r", "spiderpoolAgent.image.tag=t"), "r/a/b:t");
    assert.equal(
      await image("spiderpoolAgent.image.registry=r", "spiderpoolAgent.image.digest=sha256:x"),
      "r/a/b@sha256:x",
    );
    assert.equal(await image("spiderpoolAgent.image.registry=", "spiderpoolAgent.image.tag=t"), "a/b:t");
    assert.equal(await image("spiderpoolAgent.image.registry=r", "spiderpoolAgent.image.tag="), "r/a/b:v0.1.0");
  });

  it("8. gives pull secrets to the Pods that they are set for, hooks too", async () => {
    const secret = (part: string) => `${part}.image.imagePullSecrets[0].name=${part}`;
    const { get } = await render(...["spiderpoolAgent", "spiderpoolController", "spiderpoolInit"].map(secret));
    const found = (kind: string, name?: string) => podOf(get(kind, name)).pod.imagePullSecrets;
    assert.deepEqual(found("DaemonSet"), [{ name: "spiderpoolAgent" }]);
    assert.deepEqual(found("Deployment"), [{ name: "spiderpoolController" }]);
    assert.deepEqual(found("Job", "spiderpool-init"), [{ name: "spiderpoolInit" }]);
    assert.deepEqual(found("Job", "spiderpool-controller-hook-pre-delete"), [{ name: "spiderpoolController" }]);
  });

  it("9. changes the name label, and no object's name", async () => {
    const foo = await render("global.nameOverride=foo");
    for (const { metadata } of foo.objects) assert.equal(metadata.labels["app.kubernetes.io/name"], "foo");
    assert.deepEqual(
      foo.objects.map(({ metadata }) => metadata.name),
      (await byDefault).objects.map(({ metadata }) => metadata.name),
    );
  });

  it("10. puts common labels on every object and Pod, evaluated, and never into a selector", async () => {
    const { objects } = await render(
      "--set-literal=global.commonLabels.team={{ .Release.Name }}-net",
      "global.commonAnnotations.a=b",
    );
    for (const { kind, metadata, spec } of objects) {
      assert.equal(metadata.labels.team, "spiderpool-net", `${kind} ${metadata.name}`);
      assert.equal(metadata.annotations.a, "b", `${kind} ${metadata.name}`);
      if (spec?.template !== undefined) assert.equal(spec.template.metadata.labels.team, "spiderpool-net");
      if (spec?.selector?.matchLabels !== undefined) assert.equal(spec.selector.matchLabels.team, undefined);
    }
  });

  it("11. names the ConfigMap of the settings, wherever it is used", async () => {
    const { get, text } = await render("global.configName=my-conf");
    assert.doesNotMatch(text, /spiderpool-conf/);
    for (const kind of ["DaemonSet", "Deployment"]) {
      const mounted = podOf(get(kind)).pod.volumes.flatMap(({ configMap }: Rendered) => configMap?.name ?? []);
      assert.deepEqual(mounted, ["my-conf"]);
    }
  });

  it("30. renames objects, containers and accounts, but neither Secret nor ConfigMap", async () => {
    const { get, objects } = await render("spiderpoolAgent.name=ag", "spiderpoolController.name=ctl");
    assert.deepEqual(
      [podOf(get("DaemonSet", "ag")).container.name, podOf(get("DaemonSet")).pod.serviceAccountName],
      ["ag", "ag"],
    );
    assert.equal(podOf(get("Deployment", "ctl")).pod.serviceAccountName, "ctl");
    for (const kind of ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Service"]) {
      assert.ok(get(kind, "ctl") !== undefined, kind);
    }
    assert.ok(get("Secret", "spiderpool-controller-server-certs") && get("ConfigMap", "spiderpool-conf"));
    const accounts = objects.filter(({ kind }) => kind === "ClusterRoleBinding").flatMap(({ subjects }) => subjects);
    assert.ok(accounts.some(({ name }) => name === "ag") && accounts.some(({ name }) => name === "ctl"));
    assert.ok(get("Job", "ctl-hook-pre-delete") !== undefined);
  });

  it("lets who may see Pods see every kind of ours, and change none", async () => {
    const { get, all } = await render("--release=blue");
    const { metadata, rules } = get("ClusterRole", "blue-view");
    assert.equal(metadata.labels["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    assert.deepEqual(new Set(rules.flatMap(({ verbs }: Rendered) => verbs)), new Set(["get", "list", "watch"]));
    const files = readdirSync(join(chart, "crds"));
    const plurals = files.map((file) => parse(readFileSync(join(chart, "crds", file), "utf8")).spec.names.plural);
    assert.deepEqual(rules.flatMap(({ resources }: Rendered) => resources).sort(), plurals.sort());
    assert.ok(!all("ClusterRoleBinding").some(({ roleRef }) => roleRef.name === metadata.name));
  });

  it("38. installs a dashboard that Grafana can read", async () => {
    const { get } = await render(
      "grafanaDashboard.install=true",
      "global.nameOverride=foo",
      "grafanaDashboard.allowCrossNamespaceImport=false",
    );
    const { spec } = get("GrafanaDashboard", "foo-ipam");
    assert.equal(spec.allowCrossNamespaceImport, false);
    assert.deepEqual(spec.instanceSelector.matchLabels, { "operator.insight.io/managed-by": "insight" });
    const { uid, title } = JSON.parse(spec.json);
    assert.deepEqual([uid, title], ["5FAGqFE4z", "Spiderpool"]);
  });
});

describe("the chart: what the values do", () => {
  it("12. 13. uses other CNI directories, everywhere", async () => {
    const rendering = await render("global.cniBinHostPath=/usr/lib/cni", "global.cniConfHostPath=/x");
    const agent = agentOf(rendering);
    assert.ok(hostPaths(agent).includes("/usr/lib/cni") && hostPaths(agent).includes("/x"));
    assert.ok(podOf(agent).container.args.includes("--cni-bin-dir=/usr/lib/cni"));
    assert.ok(podOf(agent).container.args.includes("--cni-conf-dir=/x"));
    assert.doesNotMatch(rendering.text, /\/opt\/cni\/bin|\/etc\/cni\/net\.d/);
    assert.equal(envOf(podOf(controllerOf(rendering)).container)["SPIDERPOOL_CNI_CONFIG_DIR"], "/x");
    assert.ok(hostPaths(controllerOf(rendering)).includes("/x"));
  });

  it("14. asks probes over IPv6 where IPv4 is off", async () => {
    const rendering = await render("ipam.enableIPv4=false");
    assert.equal(rendering.conf().enableIPv4, false);
    assert.equal(podOf(agentOf(rendering)).container.livenessProbe.httpGet.host, "::1");
    assert.equal(podOf(agentOf(await byDefault)).container.livenessProbe.httpGet.host, "127.0.0.1");
  });

  it("15. 16. switches subnets off together with their webhooks, and sets the addresses in excess", async () => {
    const rendering = await render("ipam.spiderSubnet.enable=false");
    const { enableSpiderSubnet, clusterSubnetDefaultFlexibleIPNumber } = rendering.conf();
    assert.deepEqual([enableSpiderSubnet, clusterSubnetDefaultFlexibleIPNumber], [false, 0]);
    assert.ok(!webhookNames(rendering, "Validating").includes("spidersubnet"));
    const five = await render("ipam.spiderSubnet.autoPool.defaultRedundantIPNumber=5");
    assert.equal(five.conf().clusterSubnetDefaultFlexibleIPNumber, 5);
  });

  it("17. hands the collection's settings to the controller", async () => {
    const env = envOf(
      podOf(controllerOf(await render("ipam.gc.enabled=false", "ipam.gc.gcAll.intervalInSecond=30"))).container,
    );
    assert.deepEqual(
      [env["SPIDERPOOL_GC_IP_ENABLED"], env["SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION"]],
      ["false", "30"],
    );
  });

  it("18. hands the coordinator's values to whoever creates it first", async () => {
    const rendering = await render("coordinator.mode=overlay", "coordinator.vethMTU=1400");
    const env = envOf(podOf(controllerOf(rendering)).container);
    const { mode, vethMTU } = JSON.parse(env["SPIDERPOOL_COORDINATOR_SPEC"] ?? "");
    assert.deepEqual([mode, vethMTU], ["overlay", 1400]);
    const objects = rendering.get("ConfigMap", "spiderpool-init").data["objects.yaml"];
    assert.ok(objects.includes(env["SPIDERPOOL_COORDINATOR_SPEC"] ?? assert.fail()));
  });

  it("19. does without a coordinator", async () => {
    const rendering = await render("coordinator.enabled=false");
    assert.ok(!webhookNames(rendering, "Mutating").includes("spidercoordinator"));
    assert.equal(envOf(podOf(controllerOf(rendering)).container)["SPIDERPOOL_COORDINATOR_ENABLED"], "false");
    assert.doesNotMatch(rendering.get("ConfigMap", "spiderpool-init").data["objects.yaml"], /SpiderCoordinator/);
  });

  it("20. refuses impossible values with their path and what is allowed", async () => {
    const said = await refusal(
      ...["coordinator.mode=foo", "coordinator.vethMTU=0", "coordinator.hijackCIDR={10.0.0.0/33}"],
      ...["global.imageRegistryOverride=https://m.local", "multus.multusCNI.defaultCniCRName=Bad_Name"],
      ...["spiderpoolAgent.prometheus.enabled=maybe", "ipam.enableIPv4=1", "spiderpoolController.tls.method=own"],
      ...["spiderpoolAgent.name=The_Agent", "spiderpoolAgent.resources.limits.memory=much"],
      ...["spiderpoolAgent.updateStrategy.rollingUpdate.maxUnavailable=half", "grafanaDashboard.namespace=a/b"],
    );
    for (const path of [
      "/coordinator/mode': value must be one of 'auto', 'underlay', 'overlay', 'disabled'",
      "/coordinator/vethMTU': minimum",
      "/coordinator/hijackCIDR/0'",
      "/global/imageRegistryOverride'",
      "/multus/multusCNI/defaultCniCRName'",
      "/spiderpoolAgent/prometheus/enabled': got string, want null or boolean",
      "/ipam/enableIPv4'",
      "/spiderpoolController/tls/method'",
      "/spiderpoolAgent/name'",
      "/spiderpoolAgent/resources/limits/memory'",
      "/spiderpoolAgent/updateStrategy/rollingUpdate/maxUnavailable'",
      "/grafanaDashboard/namespace'",
    ]) {
      assert.ok(said.includes(path), `${path} in ${said}`);
    }
  });

  it("refuses a port twice on the node's network, and not where each program has an address of its own", async () => {
    const metrics = ["spiderpoolAgent.prometheus.enabled=true", "spiderpoolAgent.prometheus.port=5720"];
    const both = "spiderpoolAgent.prometheus.port and spiderpoolController.httpPort are both 5720";
    assert.ok((await refusal(...metrics)).includes(both));
    await render(...metrics, "spiderpoolController.hostnetwork=false");
    const apart = ["spiderpoolAgent.prometheus.bindAddress=127.0.0.2", "spiderpoolController.httpBindAddress=node"];
    await render(...metrics, ...apart);
  });

  it("refuses the root as a directory", async () => {
    assert.match(
      await refusal("ovs.runDir=/", "global.cniBinHostPath=//"),
      /ovs\/runDir'(.*\n)*.*cniBinHostPath'|cniBinHostPath'(.*\n)*.*ovs\/runDir'/,
    );
  });

  it("refuses every value of another type, all at once, each with its path", async () => {
    const all = readChartValues().map(({ path, default: value }) => ({
      path,
      wrong: typeof value === "object" ? '"text"' : "[1]",
    }));
    const said = await refusal(...all.map(({ path, wrong }) => `--set-json=${path}=${wrong}`));
    const accepted = all.map(({ path }) => path).filter((path) => !said.includes(`/${path.replaceAll(".", "/")}'`));
    assert.deepEqual(accepted, []);
  });

  it("21. 22. names the default network, or lets the first node's tell", async () => {
    const named = await render("multus.multusCNI.defaultCniCRName=ovs-conf");
    assert.equal(named.get("ConfigMap", "spiderpool-conf").data.clusterNetwork, "ovs-conf");
    assert.equal(envOf(podOf(agentOf(named)).container)["MULTUS_CLUSTER_NETWORK"], "kube-system/ovs-conf");
    assert.deepEqual(hostPaths(initOf(named)), []);
    const rendering = await byDefault;
    assert.ok(!("MULTUS_CLUSTER_NETWORK" in envOf(podOf(agentOf(rendering)).container)));
    assert.deepEqual(hostPaths(initOf(rendering)), ["/etc/cni/net.d"]);
  });

  it("23. 24. leaves the nodes' CNI configuration alone where it is told to", async () => {
    for (const flags of [[], ["multus.multusCNI.uninstall=true"]]) {
      const rendering = await render("multus.multusCNI.install=false", ...flags);
      assert.ok(!hostPaths(agentOf(rendering)).includes("/etc/cni/net.d"));
      const { args } = podOf(agentOf(rendering)).container;
      assert.ok(!args.some((arg: string) => arg.startsWith("--cni-conf-dir") || /--cni-plugins=.*multus/.test(arg)));
      const env = envOf(podOf(controllerOf(rendering)).container);
      assert.equal(env["SPIDERPOOL_MULTUS_CONFIG_ENABLED"], "true");
    }
  });

  it("25. does without SpiderMultusConfigs", async () => {
    const rendering = await render("multus.enableMultusConfig=false");
    assert.ok(!webhookNames(rendering, "Validating").includes("spidermultusconfig"));
    assert.equal(envOf(podOf(controllerOf(rendering)).container)["SPIDERPOOL_MULTUS_CONFIG_ENABLED"], "false");
  });

  it("26. 27. installs ovs or not, and the reference plugins where they are wanted", async () => {
    const plugins = (rendering: Rendered) =>
      podOf(agentOf(rendering)).container.args.find((arg: string) => arg.startsWith("--cni-plugins="));
    assert.match(plugins(await byDefault), /ovs/);
    assert.doesNotMatch(plugins(await render("plugins.installOvsCNI=false")), /ovs/);
    const reference = (rendering: Rendered) =>
      podOf(agentOf(rendering)).container.args.find((arg: string) => arg.startsWith("--reference-plugins="));
    assert.equal(reference(await byDefault), undefined);
    assert.equal(reference(await render("plugins.installCNI=true")), "--reference-plugins=/usr/lib/spiderpool/cni");
  });

  it("28. 29. makes the default pool and its subnet, and refuses one without a network", async () => {
    const pool = (key: string) => `clusterDefaultPool.${key}`;
    const rendering = await render(
      ...[pool("installIPv4IPPool=true"), pool("ipv4Subnet=172.18.0.0/16"), pool("ipv4Gateway=172.18.0.1")],
      pool("ipv4IPRanges={172.18.40.40-172.18.40.50,172.18.41.1}"),
    );
    const objects = rendering.get("ConfigMap", "spiderpool-init").data["objects.yaml"];
    const spec = '"gateway":"172.18.0.1","ips":["172.18.40.40-172.18.40.50","172.18.41.1"],"subnet":"172.18.0.0/16"}';
    assert.ok(objects.includes(`kind: SpiderSubnet\nmetadata: {name: default-v4-subnet}\nspec: {${spec}`), objects);
    assert.ok(
      objects.includes(`kind: SpiderIPPool\nmetadata: {name: default-v4-ippool}\nspec: {"default":true,${spec}`),
    );
    assert.match(await refusal(pool("installIPv4IPPool=true")), /clusterDefaultPool\.ipv4Subnet is empty.*like 172/);
    const same = ["installIPv4IPPool=true", "installIPv6IPPool=true", "ipv4Subnet=10.0.0.0/8", "ipv6Subnet=fd00::/64"];
    assert.match(await refusal(...same.map(pool), pool("ipv6IPPoolName=default-v4-ippool")), /different names/);
  });
});
