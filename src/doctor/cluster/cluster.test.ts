import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { systemClock } from "#base";
import { configMaps, daemonSets, deployments, events, KubeClient, namespaces, pods, secrets } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { type Finding, runChecks } from "../check.ts";
import { eventOf, findingOfEvent, publishedMsMax } from "../events.ts";
import { nodeChecks } from "../node/checks.ts";
import { clusterChecks } from "./checks.ts";
import { readCluster } from "./read.ts";
import { isOtherVersion } from "./versions.ts";

const signal = AbortSignal.timeout(60_000);
const namespace = "kube-system";
const labelsOf = (component: string) => ({
  "spiderpool.spidernet.io/program": component.replace("spiderpool-", ""),
});

/** A cluster with one agent and one controller of the same version. */
function healthy(): FakeApi {
  const api = new FakeApi();
  const workload = (component: string, image: string, args: readonly string[]) => ({
    metadata: {
      ...{ namespace, name: component, labels: labelsOf(component) },
      annotations: { "meta.helm.sh/release-name": "sp" },
    },
    spec: {
      selector: { matchLabels: labelsOf(component) },
      template: { metadata: { labels: labelsOf(component) }, spec: { containers: [{ name: "main", image, args }] } },
    },
  });
  api.apply(daemonSets, workload("spiderpool-agent", "registry:5000/agent:v1", []) as never);
  api.apply(
    deployments,
    workload("spiderpool-controller", "registry:5000/controller:v1", ["--tls-secret=certs"]) as never,
  );
  for (const [component, image] of [
    ["spiderpool-agent", "registry:5000/agent:v1"],
    ["spiderpool-controller", "registry:5000/controller:v1"],
  ] as const) {
    const metadata = { namespace, name: `${component}-x`, labels: labelsOf(component) };
    api.apply(pods, { metadata, spec: { containers: [{ name: "main", image }] } });
  }
  api.apply(namespaces, { metadata: { name: namespace } });
  return api;
}

describe("the doctor of a cluster", () => {
  let folder: string;
  const certificate = (days: number) => {
    const subject = ["-subj", "/CN=x", "-keyout", join(folder, "key"), "-out", join(folder, "crt")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    execFileSync("openssl", ["req", "-x509", ...kind, "-days", String(days), ...subject], { stdio: "ignore" });
    return readFileSync(join(folder, "crt")).toString("base64");
  };
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "doctor-cluster-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const examine = async (api: FakeApi, now = new Date()) =>
    runChecks(
      clusterChecks,
      await readCluster(new KubeClient({ transport: api, clock: systemClock }), now, { signal }),
      "cluster",
    );

  it("finds nothing in a healthy cluster", async () => {
    const api = healthy();
    api.apply(secrets, { metadata: { namespace, name: "certs" }, data: { "tls.crt": certificate(365) } });
    api.apply(configMaps, {
      metadata: { namespace: "kube-system", name: "cilium-config" },
      data: { "cni-exclusive": "false" },
    });
    assert.deepEqual(await examine(api), []);
  });

  it("finds cilium-exclusive until the setting is off", async () => {
    const api = healthy();
    const set = (value: string) =>
      api.apply(configMaps, {
        metadata: { namespace: "kube-system", name: "cilium-config" },
        data: { "cni-exclusive": value },
      });
    set("true");
    const [finding, ...others] = await examine(api);
    assert.deepEqual([finding?.id, others], ["cilium-exclusive", []]);
    assert.match(finding?.fix[0] ?? "", /patch configmap cilium-config .*"cni-exclusive":"false"/);
    set("false");
    assert.deepEqual(await examine(api), []);
  });

  it("finds Cilium's setting where the controller is told to look", async () => {
    const api = healthy();
    const [controller] = api.all(deployments);
    const env = [{ name: "SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME", value: "cilium/settings" }];
    const template = { ...controller?.spec?.template, spec: { containers: [{ name: "main", env }] } };
    api.apply(deployments, { ...controller, spec: { ...controller?.spec, template } } as never);
    api.apply(configMaps, { metadata: { namespace: "cilium", name: "settings" }, data: { "cni-exclusive": "true" } });
    const [finding] = (await examine(api)).filter(({ id }) => id === "cilium-exclusive");
    assert.match(finding?.fix[0] ?? "", /^kubectl -n cilium patch configmap settings /);
  });

  it("finds certificate-expiry until the Secret is made anew", async () => {
    const api = healthy();
    api.apply(secrets, { metadata: { namespace, name: "certs" }, data: { "tls.crt": certificate(10) } });
    const later = new Date(Date.now() + 9.5 * 86_400_000);
    const [finding, ...others] = await examine(api, later);
    assert.deepEqual([finding?.id, others], ["certificate-expiry", []]);
    assert.deepEqual(finding?.fix, ["kubectl -n kube-system delete secret certs"]);
    api.remove(secrets, { namespace, name: "certs" });
    assert.deepEqual(await examine(api, later), []);
  });

  it("finds pod-security until the namespace admits the agent", async () => {
    const api = healthy();
    const enforce = (level: string) =>
      api.apply(namespaces, {
        metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": level } },
      });
    enforce("restricted");
    const [finding, ...others] = await examine(api);
    assert.deepEqual([finding?.id, others], ["pod-security", []]);
    assert.match(finding?.fix[0] ?? "", /^kubectl label namespace kube-system \S+=privileged --overwrite$/);
    enforce("privileged");
    assert.deepEqual(await examine(api), []);
  });

  it("finds not-running: a DaemonSet that somebody deleted, Pods that are not ready, a Deployment without Pods", async () => {
    const api = healthy();
    const seen = async () => (await examine(api)).map(({ id, found }) => `${id}: ${found}`);
    const [agents] = api.all(daemonSets);
    api.remove(daemonSets, { namespace, name: "spiderpool-agent" });
    const [finding, ...others] = await examine(api);
    assert.deepEqual([finding?.id, others], ["not-running", []]);
    assert.match(finding?.found ?? "", /^namespace kube-system has no DaemonSet of agents: no Pod gets an address$/);
    assert.deepEqual(finding?.fix, [
      `helm -n kube-system rollback sp "$(helm -n kube-system status sp | sed -n 's/^REVISION: //p')"`,
    ]);
    api.apply(daemonSets, agents as never);
    assert.deepEqual(await seen(), []);

    const agent = api.read(pods, { namespace, name: "spiderpool-agent-x" });
    const status = { conditions: [{ type: "Ready", status: "False" }] };
    api.apply(pods, { ...agent, spec: { ...agent?.spec, nodeName: "node1" }, status } as never);
    api.remove(pods, { namespace, name: "spiderpool-controller-x" });
    assert.deepEqual(await seen(), [
      "not-running: Pod kube-system/spiderpool-agent-x of daemonset/spiderpool-agent on node1 is not ready",
      "not-running: kube-system: deployment/spiderpool-controller has no Pod: pools and networks cannot be changed",
    ]);
  });

  it("takes nothing for deleted that the caller may not list", async () => {
    const api = healthy();
    const forbidden = { kind: "status", status: 403, reason: "Forbidden" } as const;
    const facts = () => readCluster(new KubeClient({ transport: api, clock: systemClock }), new Date(), { signal });
    assert.deepEqual((await facts()).unread, []);
    api.fail(({ path }) => path.includes("/daemonsets"), forbidden);
    const { unread, workloads } = await facts();
    assert.deepEqual([unread, workloads], [["daemonsets"], []]);
    api.fail(({ path }) => path.includes("/daemonsets"), forbidden);
    assert.deepEqual(await examine(api), []);
  });

  it("finds pod-without-network: a Pod whose newest attempt failed, until it has an address", async () => {
    const api = healthy();
    const apply = (name: string, spec: object, status: object) =>
      api.apply(pods, {
        metadata: { namespace: "shop", name },
        spec: { containers: [], nodeName: "node1", ...spec },
        status: { phase: "Pending", ...status },
      }).metadata.uid;
    const tell = (name: string, uid: string, message: string, more: object = {}) =>
      api.apply(events, {
        metadata: { namespace: "shop", name, annotations: { "ipam.spidernet.io/error-code": "POOL_EXHAUSTED" } },
        involvedObject: { kind: "Pod", namespace: "shop", uid },
        type: "Warning",
        message,
        ...more,
      } as never);
    const web = apply("web", {}, {});
    apply("fresh", {}, {});
    const runs = apply("runs", {}, { phase: "Running", podIP: "10.6.0.1" });
    const onHost = apply("on-host", { hostNetwork: true }, {});
    const said = "all 10 addresses of IPPool a are in use";
    tell("a", web, "an older reason", { lastTimestamp: "2026-01-01T00:00:00Z" });
    const where = '[shop/web/uid:kube-system/net]: error adding container to network "kube-system/net": ';
    tell("b", web, `${where}${said}. What to do: add some. See: spiderpoolctl explain pod web -n shop`, {
      lastTimestamp: "2026-01-01T00:01:00Z",
    });
    for (const uid of [runs, onHost, "former"]) tell(`of-${uid}`, uid, said);
    assert.deepEqual(await examine(api), [
      {
        id: "pod-without-network",
        on: "cluster",
        severity: "warning",
        found: `Pod shop/web on node1 waits for its network: ${said}`,
        fix: ["spiderpoolctl explain pod web -n shop"],
      },
    ]);
    apply("web", {}, { phase: "Running", podIP: "10.6.0.2" });
    assert.deepEqual(await examine(api), []);
  });

  it("finds pod-without-network where only kubelet tells, names ten Pods, and counts the others", async () => {
    const api = healthy();
    const message =
      'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: plugin type="multus" name="multus-cni-network" failed (add): spiderpool-agent is not reachable; What to do: start it';
    for (const at of Array(12).keys()) {
      const name = `web-${at}`;
      const { uid } = api.apply(pods, {
        metadata: { namespace: "shop", name },
        spec: { containers: [], nodeName: "node1" },
        status: { phase: "Pending" },
      }).metadata;
      api.apply(events, {
        metadata: { namespace: "shop", name },
        involvedObject: { kind: "Pod", uid },
        type: "Warning",
        reason: "FailedCreatePodSandBox",
        message,
      } as never);
    }
    const found = (await examine(api)).map((one) => one.found);
    assert.equal(found.length, 11);
    assert.equal(found[0], "Pod shop/web-0 on node1 waits for its network: spiderpool-agent is not reachable");
    assert.equal(found.at(-1), "2 further Pods wait for their networks");
  });

  it("finds version-skew: a Pod that lags behind its workload", async () => {
    const api = healthy();
    const metadata = { namespace, name: "spiderpool-agent-old", labels: labelsOf("spiderpool-agent") };
    api.apply(pods, { metadata, spec: { containers: [{ name: "main", image: "registry:5000/agent:v0" }] } });
    const [finding, ...others] = await examine(api);
    assert.deepEqual([finding?.id, others], ["version-skew", []]);
    assert.deepEqual(finding?.fix, ["kubectl -n kube-system delete pod spiderpool-agent-old"]);
    api.remove(pods, { namespace, name: "spiderpool-agent-old" });
    assert.deepEqual(await examine(api), []);
  });

  it("compares versions by tags, and by digests of one image alone", () => {
    const [a, b] = ["a".repeat(64), "b".repeat(64)].map((hex) => `@sha256:${hex}`);
    for (const [one, other, differ] of [
      ["r:5000/agent:v1", "r:5000/controller:v1", false],
      ["r:5000/agent:v1", "r:5000/controller:v2", true],
      [`r:5000/agent${a}`, "r:5000/controller:v1", false],
      [`r:5000/agent${a}`, `r:5000/controller${b}`, false],
      [`r:5000/both${a}`, `r:5000/both${b}`, true],
      [`r:5000/both${a}`, `r:5000/both${a}`, false],
    ] as const) {
      assert.equal(isOtherVersion(one, other), differ, `${one} ${other}`);
      assert.equal(isOtherVersion(other, one), differ, `${other} ${one}`);
    }
  });

  it("finds version-skew: agents of another version than the controller", async () => {
    const api = healthy();
    const spec = { containers: [{ name: "main", image: "registry:5000/agent:v2" }] };
    const labels = labelsOf("spiderpool-agent");
    api.apply(pods, { metadata: { namespace, name: "spiderpool-agent-x", labels }, spec });
    api.apply(daemonSets, {
      metadata: { namespace, name: "spiderpool-agent", labels },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    } as never);
    const [finding, ...others] = await examine(api);
    assert.deepEqual([finding?.id, others], ["version-skew", []]);
    assert.deepEqual(finding?.fix, [
      "kubectl -n kube-system set image daemonset/spiderpool-agent main=registry:5000/agent:v1",
    ]);
  });
});

describe("what agents publish", () => {
  const finding: Finding = {
    id: "stale-port",
    on: "node1",
    severity: "warning",
    found: "port x of bridge br1 has no network device any more",
    fix: ["ovs-vsctl --if-exists del-port br1 x", "true"],
  };
  const now = new Date();
  const event = (ageMs: number) =>
    ({
      ...eventOf(finding),
      metadata: { name: "e" },
      involvedObject: { kind: "Node", name: "node1" },
      lastTimestamp: new Date(now.getTime() - ageMs).toISOString(),
    }) as never;

  it("is read back as it was found, until it is too old to be true", () => {
    assert.deepEqual(findingOfEvent(event(60_000), now), finding);
    assert.equal(findingOfEvent(event(publishedMsMax + 1), now), undefined);
  });
});

describe("the checks", () => {
  it("have an id of their own each", () => {
    const ids = [...nodeChecks, ...clusterChecks].map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });
});
