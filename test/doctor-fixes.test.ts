// Each fault of a cluster is made in an API server, and the commands that doctor prints for it are run by kubectl as they stand.
// What waits for a node has its place in explain/explain.test.ts, what is wrong with a node in src/doctor/node/checks.test.ts.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { promisify } from "node:util";
import { systemClock } from "#base";
import { clusterChecks, type Finding, readCluster, runChecks } from "#doctor";
import { createTransport, KubeClient, loadKubeConfig } from "#kube";
import { at, createApiServer, createLabClient, type LabApi, type LabClient } from "../lab/api/index.ts";
import { kubeconfigFor } from "../lab/tools/kubeconfig.ts";
import { findKubectl } from "../lab/tools/kubectl.ts";

const execute = promisify(execFile);
const namespace = "kube-system";
const dayMs = 86_400_000;
const agent = { kind: "DaemonSet", resource: "apps/v1/daemonsets", name: "spiderpool-agent" } as const;
const controller = { kind: "Deployment", resource: "apps/v1/deployments", name: "spiderpool-controller" } as const;

/** A fault that one check must find. */
interface Case {
  readonly id: string;
  readonly what: string;
  readonly inject: () => Promise<unknown>;
  /** Of the finding's text. */
  readonly found: RegExp;
  /** What others do when the commands have run: it makes nothing right that the commands did not. */
  readonly afterwards?: () => Promise<unknown>;
}

describe("what the doctor of a cluster prints", () => {
  let folder: string;
  let api: LabApi;
  let client: LabClient;
  let kubeconfig: string;
  let now: Date;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "doctor-fixes-"));
    symlinkSync(await findKubectl(), join(folder, "kubectl"));
    kubeconfig = join(folder, "kubeconfig");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A healthy cluster. */
  beforeEach(async () => {
    api = createApiServer({});
    client = createLabClient({ api });
    writeFileSync(kubeconfig, kubeconfigFor((await api.listen()).url));
    now = new Date();
    await client
      .create("v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } })
      .catch(() => {});
    for (const one of [agent, controller]) {
      await client.create(one.resource, workload(one, "v1"));
      await client.create("v1/pods", podOf(one.name, "v1"));
    }
    await client.create("v1/secrets", secret(365));
    await client.create("v1/configmaps", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace, name: "cilium-config" },
      data: { "cni-exclusive": "false" },
    });
    await client.create(agent.resource, workload({ ...agent, name: "cilium" }, "v1", {}));
  });

  afterEach(() => api.close());

  const cases: readonly Case[] = [
    {
      id: "cilium-exclusive",
      what: "the setting is on",
      inject: () =>
        client.patch("v1/configmaps", { namespace, name: "cilium-config" }, { data: { "cni-exclusive": "true" } }),
      found: /ConfigMap kube-system\/cilium-config has cni-exclusive/,
      afterwards: async () => {
        const cilium = await client.get(agent.resource, { namespace, name: "cilium" });
        const told = JSON.stringify(at(cilium, "spec", "template", "metadata", "annotations"));
        assert.match(told, /restartedAt/, "Cilium reads the setting when it starts");
      },
    },
    {
      id: "certificate-expiry",
      what: "nobody renewed it",
      inject: async () => {
        await client.delete("v1/secrets", { namespace, name: "certs" });
        await client.create("v1/secrets", secret(10));
        now = new Date(Date.now() + 9.5 * dayMs);
      },
      found: /^the certificate of Secret kube-system\/certs expires at .* and was not renewed$/,
      // The controller makes another one where there is none: with one there, this fails.
      afterwards: () => client.create("v1/secrets", secret(365)),
    },
    {
      id: "pod-security",
      what: "the namespace refuses privileged Pods",
      inject: () =>
        client.patch(
          "v1/namespaces",
          { name: namespace },
          { metadata: { labels: { "pod-security.kubernetes.io/enforce": "baseline" } } },
        ),
      found: /^namespace kube-system enforces Pod Security baseline/,
    },
    {
      id: "not-running",
      what: "the controller was scaled to nothing",
      inject: async () => {
        await client.patch(controller.resource, { namespace, name: controller.name }, { spec: { replicas: 0 } });
        await client.delete("v1/pods", { namespace, name: controller.name }, { gracePeriodSeconds: 0 });
      },
      found: /^kube-system: deployment\/spiderpool-controller has no Pod: pools and networks cannot be changed$/,
      // As its controllers do.
      afterwards: async () => {
        assert.equal(
          at(await client.get(controller.resource, { namespace, name: controller.name }), "spec", "replicas"),
          1,
        );
        await client.create("v1/pods", podOf(controller.name, "v1"));
      },
    },
    {
      id: "version-skew",
      what: "a Pod lags behind",
      inject: () => client.create("v1/pods", podOf("spiderpool-agent", "v0", "spiderpool-agent-old")),
      found: /^Pod kube-system\/spiderpool-agent-old runs registry:5000\/spiderpool-agent:v0/,
    },
    {
      id: "version-skew",
      what: "agents are of another version than the controller",
      inject: async () => {
        for (const [resource, name] of [
          [agent.resource, agent.name],
          ["v1/pods", agent.name],
        ] as const) {
          await client.delete(resource, { namespace, name }, { gracePeriodSeconds: 0 });
        }
        await client.create(agent.resource, workload(agent, "v2"));
        await client.create("v1/pods", podOf(agent.name, "v2"));
      },
      found: /^kube-system: daemonset\/spiderpool-agent is of version v2, deployment\/spiderpool-controller of v1$/,
      // As the DaemonSet's controller does: a Pod of what the DaemonSet now says.
      afterwards: async () => {
        const { image } = (await imageOf(agent.resource, agent.name)) ?? {};
        await client.delete("v1/pods", { namespace, name: agent.name }, { gracePeriodSeconds: 0 });
        const pod = podOf(agent.name, "v1");
        await client.create("v1/pods", { ...pod, spec: { containers: [{ name: "main", image }] } });
      },
    },
  ];

  for (const { id, what, inject, found, afterwards } of cases) {
    it(`mends ${id} (${what}), which alone was found`, async () => {
      assert.deepEqual(await examine(), [], "nothing is found in a healthy cluster");
      await inject();
      const [finding, ...others] = await examine();
      assert.deepEqual([finding?.id, others], [id, []]);
      assert.match(finding?.found ?? "", found);
      await execute("sh", ["-ec", finding?.fix.join("\n") ?? ""], {
        env: { PATH: `${folder}:${process.env["PATH"]}`, KUBECONFIG: kubeconfig, HOME: folder },
      });
      await afterwards?.();
      assert.deepEqual(await examine(), []);
    });
  }

  it("has a case for each check, but for Pods that wait", () => {
    const checks = clusterChecks.map(({ id }) => id).filter((id) => id !== "pod-without-network");
    assert.deepEqual(new Set(cases.map(({ id }) => id)), new Set(checks));
  });

  async function examine(): Promise<readonly Finding[]> {
    using transport = createTransport(loadKubeConfig({ kubeconfig, env: {} }), { clock: systemClock });
    const asker = new KubeClient({ transport, clock: systemClock });
    return runChecks(clusterChecks, await readCluster(asker, now, { signal: AbortSignal.timeout(60_000) }), "cluster");
  }

  async function imageOf(resource: string, name: string): Promise<{ readonly image?: string } | undefined> {
    const containers = at(await client.get(resource, { namespace, name }), "spec", "template", "spec", "containers");
    return (containers as readonly { readonly image?: string }[] | undefined)?.[0];
  }

  function secret(days: number): object {
    const subject = ["-subj", "/CN=x", "-keyout", join(folder, "key"), "-out", join(folder, "crt")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    execFileSync("openssl", ["req", "-x509", ...kind, "-days", String(days), ...subject], { stdio: "ignore" });
    const data = { "tls.crt": readFileSync(join(folder, "crt")).toString("base64") };
    return { apiVersion: "v1", kind: "Secret", metadata: { namespace, name: "certs" }, data };
  }
});

function labelsOf(component: string) {
  return { "spiderpool.spidernet.io/program": component.replace("spiderpool-", "") };
}

function containersOf(name: string, version: string) {
  return [{ name: "main", image: `registry:5000/${name}:${version}`, args: ["--tls-secret=certs"] }];
}

function workload(
  { kind, name }: { readonly kind: string; readonly name: string },
  version: string,
  labels: Readonly<Record<string, string>> = labelsOf(name),
): object {
  const template = {
    metadata: { labels: { app: name, ...labels } },
    spec: { containers: containersOf(name, version) },
  };
  const spec = { selector: { matchLabels: { app: name } }, template };
  return { apiVersion: "apps/v1", kind, metadata: { namespace, name, labels }, spec };
}

function podOf(component: string, version: string, name = component): object {
  const metadata = { namespace, name, labels: labelsOf(component) };
  return { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: containersOf(component, version) } };
}
