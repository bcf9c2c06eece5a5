import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chart, installed, walkthroughFlags } from "../cluster/product.ts";
import { ledgerIsEmpty, otherNamespace, settled } from "./audit.ts";
import { manifests, type StoredPod, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, pool } from "./workloads.ts";

const options = { pools: { ipv4: ["large"] } };
const database = "/run/cluster/etcd";
const kept = 6;

describe("when the ledger is lost under running Pods", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("ledger", { bridges: true });
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    await suite.apply(pool("large", "172.18.50.1-172.18.50.100"), deployment("kept", kept, options));
    await suite.kubectl("rollout", "status", "deployment/kept", "--timeout=300s");
    await settled(suite);
  });
  after(() => suite?.[Symbol.asyncDispose]());

  const addresses = async () => (await suite.podsOf("kept")).map(({ status }) => status.podIP ?? "").sort();
  /** Of the Lease. */
  const epoch = () => {
    const path = "jsonpath={.metadata.annotations.ipam\\.spidernet\\.io/ledger-epoch}";
    return suite.kubectl("get", "lease", "spiderpool-controller-leases", "-n", otherNamespace, "-o", path);
  };
  const ready = (what: string) => suite.kubectl("wait", what, "--for=condition=Ready", "--timeout=300s");

  it("its definition was deleted: an upgrade brings it back, agents make their claims again, and nothing is double", async () => {
    const first = await addresses();
    await suite.kubectl("delete", "crd", "spideripaddresses.spiderpool.spidernet.io", "--timeout=300s");
    await suite.apply(pod("new", options));
    await suite.stage.helm("upgrade", "spiderpool", chart, "--namespace", "kube-system", "--reuse-values");
    await installed(suite.stage);
    assert.deepEqual(suite.stage.failures, []);
    await ready("pod/new");
    await settled(suite);
    assert.deepEqual(await addresses(), first);
  });

  it("the release is removed, which it refuses at first, and installed again: addresses stay, and nothing is double", async () => {
    const first = await addresses();
    const helm = async (...argv: readonly string[]) => {
      const outcome = await suite.stage.helm(...argv, "--namespace", "kube-system");
      suite.stage.failures.length = 0;
      return outcome;
    };
    const refused = await helm("uninstall", "spiderpool");
    assert.equal(refused.ok, false);
    assert.match(refused.stderr, /nothing was deleted: .* addresses are held by Pods.*helm uninstall --no-hooks/s);
    assert.equal((await helm("uninstall", "spiderpool", "--no-hooks", "--wait", "--timeout=300s")).ok, true);
    const { ok, stderr } = await helm("install", "spiderpool", chart, ...walkthroughFlags.slice(2), "--skip-crds");
    assert.ok(ok, stderr);
    await installed(suite.stage);
    await suite.apply(pod("after", options));
    await ready("pod/after");
    assert.deepEqual(await addresses(), first);
    await suite.kubectl("delete", "pod/after", "pod/new", "--wait=true", "--timeout=300s");
    await settled(suite);
  });

  it("it is given up by force and installed again in another namespace: Pods keep their addresses, and new ones get others, whenever the pools come", async () => {
    const first = await addresses();
    const helm = (...argv: readonly string[]) => suite.stage.helm(...argv, "--namespace", "kube-system");
    await helm("upgrade", "spiderpool", chart, "--reuse-values", "--set", "spiderpoolController.cleanup.force=true");
    await installed(suite.stage);
    await helm("uninstall", "spiderpool", "--wait", "--timeout=300s");
    assert.equal((await suite.stage.quiet("get", "sia")).ok, false, "the ledger and its kind are gone");
    const there = ["--namespace", otherNamespace, "--create-namespace"];
    await suite.stage.helm("install", "spiderpool", chart, ...walkthroughFlags.slice(2), ...there);
    await installed(suite.stage, otherNamespace);
    assert.deepEqual(suite.stage.failures, []);
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    // A pool with none of their addresses is open soon, whatever comes later.
    await suite.apply(pool("other", "172.18.60.1-172.18.60.100"), pod("early", { pools: { ipv4: ["other"] } }));
    await ready("pod/early");
    assert.match(await epoch(), /^lost-.*@/, "addresses of no pool are in use");
    // Where the former addresses looked free, others would get them first.
    const others = suite.cluster.nodes.map(({ name }) => deployment(`other-${name}`, 2, { ...options, node: name }));
    await suite.apply(pool("large", "172.18.50.1-172.18.50.100"), ...others);
    for (const { name } of suite.cluster.nodes)
      await suite.kubectl("rollout", "status", `deployment/other-${name}`, "--timeout=300s");
    assert.deepEqual(await addresses(), first);
    assert.doesNotMatch(await epoch(), /lost/);
    const given = (await suite.list<StoredPod>("pods")).map(({ status }) => status.podIP ?? "");
    assert.equal(new Set(given).size, kept + 5, given.join(" "));
    for (const { metadata, status } of await suite.list<StoredPod>("pods")) {
      for (const { name: node } of suite.cluster.nodes)
        assert.equal(await suite.fetch({ node }, `http://${status.podIP}/`), metadata.name);
    }
    await settled(suite);
    await suite.kubectl("delete", "deployment,pod", "-l", "app!=kept", "--wait=true", "--timeout=300s");
    await until("others are gone", async () => ((await suite.list("pods")).length === kept ? true : undefined));
  });

  it("etcd was put back to an earlier state: what runs keeps its address or gives it back, and nothing is double", async () => {
    await suite.apply(pod("new", options));
    await ready("pod/new");
    await stop("etcd");
    await suite.cluster.run({ argv: ["cp", "-a", database, `${database}.saved`] });
    await start("etcd");
    const earlier = await addresses();
    await suite.kubectl("delete", "pod/new", "--wait=true", "--timeout=300s");
    await suite.apply(deployment("later", 4, options));
    await suite.kubectl("rollout", "status", "deployment/later", "--timeout=300s");
    await suite.kubectl("scale", "deployment/kept", `--replicas=${kept - 2}`);
    await until("two Pods are gone", async () => ((await addresses()).length === kept - 2 ? true : undefined));

    for (const program of ["kube-apiserver", "etcd"]) await stop(program);
    await suite.cluster.run({ argv: ["sh", "-c", `rm -r ${database}; mv ${database}.saved ${database}`] });
    for (const program of ["etcd", "kube-apiserver"]) await start(program);
    // They have seen versions that never were.
    for (const program of ["kube-controller-manager", "kube-scheduler"])
      await suite.cluster.kill({ program, signal: "SIGKILL" });
    for (const { name } of suite.cluster.nodes) {
      for (const program of ["kubelet", "kube-proxy"])
        await suite.cluster.kill({ node: name, program, signal: "SIGKILL" });
    }
    await until("the API server is back", async () =>
      (await suite.stage.quiet("get", "nodes")).ok ? true : undefined,
    );
    await ready("node/node1");
    await ready("node/node2");
    assert.equal((await suite.list("deployments", { labels: "app=later" })).length, 0, "it is the earlier state");
    await until(
      "all Pods of then run again",
      async () => {
        const pods = await suite.podsOf("kept");
        const { stdout } = await suite.stage.quiet("get", "deployment/kept", "-o", "jsonpath={.status.readyReplicas}");
        return pods.length === kept && stdout === String(kept) ? true : undefined;
      },
      300,
    );
    await ready("pod/new");
    await settled(suite);
    const now = await addresses();
    const same = earlier.filter((ip) => now.includes(ip)).length;
    assert.ok(same >= kept - 2, `those that ran all the time have their addresses: ${now} of ${earlier}`);
    await suite.kubectl("delete", "deploy,pods", "--all", "--wait=true", "--timeout=300s");
    await ledgerIsEmpty(suite);
    await settled(suite);
  });

  /** Not asked to end, which an API server does in a minute, after it has taken itself out of its own Service. */
  async function stop(program: string): Promise<void> {
    await suite.cluster.kill({ program, signal: "SIGKILL" });
    await suite.cluster.hold({ program, held: true });
  }

  async function start(program: string): Promise<void> {
    await suite.cluster.hold({ program, held: false });
    await until("the API server serves", async () =>
      program === "etcd" || (await suite.stage.quiet("get", "--raw", "/readyz")).ok ? true : undefined,
    );
  }
});
