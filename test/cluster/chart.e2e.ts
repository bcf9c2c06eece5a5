// The chart against a real kube-apiserver, without kubelets: what is rendered is accepted as it stands, hooks too. Run as
// process 1 of namespaces of its own (see scripts/cluster.ts).
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { spiderIPPools } from "#api";
import { never, systemClock } from "#base";
import { findHelm } from "../../lab/tools/helm.ts";
import { run } from "../../lab/topology/index.ts";
import { until } from "../../src/base/testing/until.ts";
import { clean } from "../../src/init/clean.ts";
import { updateKinds } from "../../src/init/crds.ts";
import { formerKinds, formerPool } from "../e2e/former.ts";
import { clientOf, directory, kubeconfigOfToken, startApiServer } from "./api-server.ts";

const plane = await startApiServer();
const chart = fileURLToPath(new URL("../../charts/spiderpool", import.meta.url));
const helmPath = await findHelm();
const kubectl = (...argv: string[]) => plane.kubectl(argv);
const helm = (...argv: string[]) => run([helmPath, "--kubeconfig", plane.admin, "-n", "kube-system", ...argv]);

const walkthrough = ["--set", "multus.multusCNI.defaultCniCRName=ovs-conf", "--set", "plugins.installOvsCNI=true"];

const hookJob = "spiderpool-controller-hook-pre-delete";

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
    await kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s");
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

  it("takes a certificate of the user's in place of the one that the controller wrote", async () => {
    const secret = ["secret", "spiderpool-controller-server-certs", "-n", "kube-system"];
    const keys = ["ca.crt", "tls.crt", "tls.key"];
    const dataOf = (text: string) => Object.fromEntries(keys.map((key) => [key, Buffer.from(text).toString("base64")]));
    await helm("install", "spiderpool", chart, "--no-hooks", ...walkthrough);
    // As the controller does.
    await kubectl("patch", ...secret, "--type=merge", "-p", JSON.stringify({ data: dataOf("the controller's") }));
    const [ca, cert, key] = Object.values(dataOf("the user's"));
    const values = [`method=provided`, `provided.tlsCa=${ca}`, `provided.tlsCert=${cert}`, `provided.tlsKey=${key}`];
    const flags = values.flatMap((value) => ["--set", `spiderpoolController.tls.${value}`]);
    await helm("upgrade", "spiderpool", chart, "--no-hooks", "--force-conflicts", "--reuse-values", ...flags);
    assert.deepEqual(JSON.parse(await kubectl("get", ...secret, "-o", "jsonpath={.data}")), dataOf("the user's"));
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

  it("lets the hook of a removal do its work with the rights that the chart gives it, on Nodes, too", async () => {
    const file = `${directory}/hook.yaml`;
    await helm("install", "spiderpool", chart, "--no-hooks", "--set", "multus.multusCNI.install=false");
    writeFileSync(file, await helm("template", "spiderpool", chart, "--show-only", "templates/clean.yaml"));
    await kubectl("apply", "-f", file);
    const offered = { "ovs-cni.network.kubevirt.io/br1": "1000", cpu: "4" };
    const annotations = { "ipam.spidernet.io/ledger-closed": "t" };
    const node = { apiVersion: "v1", kind: "Node", metadata: { name: "n1", annotations } };
    const status = { capacity: offered, allocatable: offered };
    writeFileSync(`${directory}/node.json`, JSON.stringify(node));
    await kubectl("create", "-f", `${directory}/node.json`);
    await kubectl("patch", "node", "n1", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status }));
    const token = await kubectl("create", "token", hookJob, "-n", "kube-system");
    const account = kubeconfigOfToken(plane.admin, token.trim());
    const client = clientOf(account);
    const names = { release: "spiderpool", controller: "spiderpool-controller", agents: "spiderpool-agent" };
    const options = { command: "clean", kubeconfig: account, namespace: "kube-system", ...names } as const;
    const rest = { jobs: ["spiderpool-init"], hookJob, force: true, yes: true };
    await clean({ ...options, ...rest }, { client, clock: systemClock, say: () => {} }, { signal: never });
    const left = JSON.parse(await kubectl("get", "node", "n1", "-o", "json"));
    assert.doesNotMatch(JSON.stringify([left.metadata.annotations ?? {}, left.status]), /spidernet|ovs-cni/);
    assert.equal(left.status.capacity.cpu, "4");
    assert.doesNotMatch(await kubectl("get", "crd", "-o", "name"), /spiderpool/);
    const agents = await kubectl("get", "daemonset", "spiderpool-agent", "-n", "kube-system", "-o", "yaml");
    assert.match(agents, /spiderpool.spidernet.io\/uninstall: "true"/);
    await kubectl("delete", "-f", file, "--wait=false");
    await helm("uninstall", "spiderpool", "--no-hooks");
  });

  it("keeps what a former release stored when our kinds extend its own: fields that only it knew, and what ours would refuse", async () => {
    await kubectl("delete", "crd", "--all", "--timeout=30s");
    const file = `${directory}/former.json`;
    const apply = (...items: readonly unknown[]) => {
      writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
      return kubectl("apply", "-f", file);
    };
    // `vendor` is a field that ours has not, and `disable` had another type.
    const loose = '"disable":{"type":"string"},"vendor":{"type":"object","properties":{"region":{"type":"string"}}}';
    const kinds = JSON.stringify(formerKinds).replace('"disable":{"type":"boolean","default":false}', loose);
    assert.ok(kinds.includes(loose));
    await apply(...JSON.parse(kinds));
    await kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s");
    const { object: plain } = formerPool({});
    const stored = (name: string, spec: object) => ({
      ...plain,
      metadata: { ...plain.metadata, name },
      spec: { ...plain.spec, ...spec },
    });
    const vendor = { region: "a" };
    // Host bits, no address, another type: ours refuses each of it at a creation.
    const wrong = { subnet: "172.19.3.4/16", ips: ["garbage"], ipVersion: 4, disable: "true" };
    await apply(stored("known", { vendor }), stored("wrong", wrong));
    const said: string[] = [];
    const { client } = plane;
    const o = { signal: never };
    await updateKinds(`${chart}/crds`, { client, clock: systemClock, say: (line) => said.push(line) }, o);
    assert.ok(said.includes("spiderippools.spiderpool.spidernet.io: extended"), said.join());
    const pool = async (name: string) => (await client.get(spiderIPPools, { name }, o)) ?? assert.fail(name);
    // The new schema is in force when it refuses what the former one took.
    writeFileSync(file, JSON.stringify(stored("probe", wrong)));
    const probe = () => kubectl("create", "--dry-run=server", "-f", file);
    await until(
      "the new schema",
      () => probe().then(() => "", String),
      (text) => /disable.*must be of type boolean/.test(text),
    );
    for (const [name, spec] of [
      ["known", { vendor }],
      ["wrong", wrong],
    ] as const) {
      const body = { metadata: { annotations: { "ipam.spidernet.io/ledger-closed": "t" } } };
      await client.patch(spiderIPPools, { name }, { kind: "merge", body }, o);
      const status = { status: { totalIPCount: 0, allocatedIPCount: 0, allocatedIPs: "{}" } };
      await client.patch(spiderIPPools, { name }, { kind: "merge", body: status }, { ...o, subresource: "status" });
      assert.deepEqual((await pool(name)).spec, { ...(await pool(name)).spec, ...spec });
      assert.equal((await pool(name)).status?.totalIPCount, 0);
    }
    await client.patch(
      spiderIPPools,
      { name: "wrong" },
      { kind: "merge", body: { metadata: { finalizers: null } } },
      o,
    );
    await kubectl("delete", "spiderippool", "wrong", "--timeout=120s");
  });
});
