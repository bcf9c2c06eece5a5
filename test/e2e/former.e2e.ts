import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chart, installed, walkthroughFlags } from "../cluster/product.ts";
import { formerEndpoint, formerPool, formerReservation, writeFormerChart } from "./former.ts";
import { manifests, type StoredPod, type Suite, startBareSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, statefulSet } from "./workloads.ts";

const helmArgv = ["spiderpool", chart, ...walkthroughFlags];

describe("a cluster of a former Spiderpool", () => {
  let suite: Suite;
  before(async () => {
    suite = await startBareSuite("former", { bridges: true });
    const former = writeFormerChart(suite.cluster.directory);
    await suite.stage.helm("install", "spiderpool", former, "--namespace", "kube-system");
    await installed(suite.stage);
    assert.deepEqual(suite.stage.failures, []);
  });
  after(() => suite?.[Symbol.asyncDispose]());

  /** By the former system, after a rollback to it. */
  let given = "";

  const claims = async () =>
    Object.fromEntries(
      (await suite.list("spideripaddresses")).map(({ spec }) => [
        spec["address"],
        `${spec["purpose"]} ${spec["podName"]}`,
      ]),
    );
  const records = async () =>
    JSON.parse(await suite.kubectl("get", "sp/ippool-test", "-o", "jsonpath={.status.allocatedIPs}"));
  const opened = () =>
    until("the pool is open", async () => {
      const noted = await suite.kubectl("get", "sp/ippool-test", "-o", "jsonpath={.metadata.annotations}");
      return noted.includes("ledger-closed") ? undefined : true;
    });
  const ready = (...what: readonly string[]) =>
    suite.kubectl("wait", ...what, "--for=condition=Ready", "--timeout=300s");
  const named = async (name: string) => {
    const [found = assert.fail(name)] = (await suite.list<StoredPod>("pods")).filter(
      (one) => one.metadata.name === name,
    );
    const { uid } = found.metadata;
    return { namespace: "default", name, uid, node: found.spec.nodeName };
  };
  const record = ({ name, uid }: { readonly name: string; readonly uid: string }) => ({
    pod: `default/${name}`,
    podUid: uid,
  });

  it("is taken over by an upgrade to this chart: each address of a running Pod is its own, the others are given", async () => {
    await suite.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=300s");
    await suite.apply(
      ...["a", "b", "c"].map((name, at) => pod(name, { node: at === 0 ? "node1" : "node2" })),
      statefulSet("web", 1),
    );
    await until("the Pods are there", async () => ((await suite.list("pods")).length === 4 ? true : undefined));
    await ready("pods", "--all");
    const [a, b, c, web] = await Promise.all([named("a"), named("b"), named("c"), named("web-0")]);
    const { object, status } = formerPool({
      "172.18.30.131": record(a),
      "172.18.30.132": record(b),
      "172.18.30.133": record({ name: "gone", uid: "5d40b76b-294a-421a-9894-34fb81712732" }),
      "172.18.30.134": { pod: "default/a" },
      "172.18.30.135": record(web),
    });
    const endpoints = [
      formerEndpoint(a, "172.18.30.131", "ippool-test"),
      formerEndpoint(c, "172.18.30.136", "ippool-test"),
      formerEndpoint(web, "172.18.30.135", "ippool-test", "web"),
    ];
    await suite.apply(object, formerReservation, ...endpoints);
    await suite.kubectl(
      "patch",
      "sp/ippool-test",
      "--subresource=status",
      "--type=merge",
      "-p",
      JSON.stringify(status),
    );
    // With all values of the former chart, whose images are not ours.
    await suite.stage.helm("upgrade", ...helmArgv, "--reuse-values");
    await installed(suite.stage);
    assert.deepEqual(suite.stage.failures, []);
    const held = {
      "172.18.30.131": "Pod a",
      "172.18.30.132": "Pod b",
      "172.18.30.135": "Sticky web-0",
      "172.18.30.136": "Pod c",
    };
    await opened();
    assert.deepEqual(await claims(), held);
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    await suite.apply(deployment("app", 5));
    await suite.kubectl("rollout", "status", "deployment/app", "--timeout=300s");
    const given = (await suite.podsOf("app")).map(({ status }) => status.podIP).sort();
    assert.deepEqual(
      given,
      ["133", "134", "137", "138", "139"].map((last) => `172.18.30.${last}`),
    );
    const told = await suite.kubectl(
      "get",
      "events",
      "-A",
      "-o",
      'jsonpath={range .items[*]}{.reason} {.message}{"\\n"}{end}',
    );
    assert.match(told, /AddressesTakenOver 4 addresses/);
    assert.match(told, /AddressesNotTakenOver 1 entry .*172\.18\.30\.134/);
    for (const one of [a, b, c, web]) assert.equal((await named(one.name)).uid, one.uid, "nobody was restarted");
  });

  it("gives the addresses back when those Pods end, and a StatefulSet's to its next Pod", async () => {
    const { uid: former } = await named("web-0");
    // kubectl's own waiting takes a successor of the same name, made between two of its requests, for the Pod that is to go.
    await suite.kubectl("delete", "pod/a", "pod/web-0", "--wait=false");
    await until("the address of a is free", async () =>
      (await claims())["172.18.30.131"] === undefined ? true : undefined,
    );
    await until("there is a new web-0", async () =>
      (await suite.list("pods", { labels: "app=web" })).some(({ metadata }) => metadata.uid !== former)
        ? true
        : undefined,
    );
    await ready("pod/web-0");
    assert.equal(await suite.kubectl("get", "pod/web-0", "-o", "jsonpath={.status.podIP}"), "172.18.30.135");
  });

  it("works again after a rollback, and what it gives meanwhile is taken over by the way forth", async () => {
    const to = async (revision: string) => {
      await suite.stage.helm("rollback", "spiderpool", revision, "--namespace", "kube-system");
      await installed(suite.stage);
      assert.deepEqual(suite.stage.failures, []);
    };
    const watch = "until [ -e /run/over ]; do [ -e /etc/cni/net.d/00-multus.conf ] || echo missing; sleep 0.02; done";
    const watching = suite.cluster.nodes.map(({ name }) => suite.onNode(name, watch));
    await to("1");
    const app = () => suite.podsOf("app");
    const before = await app();
    await suite.kubectl("scale", "deployment/app", "--replicas=4");
    await suite.apply(pod("later", { node: "node1" }));
    await ready("pod/later");
    const left = await until("one is gone", async () =>
      ((pods) => (pods.length === 4 ? pods : undefined))(await app()),
    );
    const [gone = assert.fail()] = before.filter(
      (one) => !left.some(({ metadata }) => metadata.uid === one.metadata.uid),
    );
    given = gone.status.podIP ?? assert.fail();
    const allocatedIPs = JSON.stringify({ ...(await records()), [given]: record(await named("later")) });
    const body = JSON.stringify({ status: { allocatedIPs } });
    await suite.kubectl("patch", "sp/ippool-test", "--subresource=status", "--type=merge", "-p", body);
    assert.equal((await claims())[given], `Pod ${gone.metadata.name}`, "nobody keeps the ledger now");
    await to("2");
    await opened();
    assert.equal((await claims())[given], "Pod later");
    await Promise.all(suite.cluster.nodes.map(({ name }) => suite.onNode(name, "touch /run/over")));
    assert.deepEqual(await Promise.all(watching), ["", ""], "nodes had a network all the time");
  });

  it("has its records back, in its own format, when this release goes", async () => {
    const keep = ["--reuse-values", "--set", "spiderpoolController.cleanup.enable=false"];
    await suite.stage.helm("upgrade", "spiderpool", chart, "--namespace", "kube-system", ...keep);
    await installed(suite.stage);
    await suite.stage.helm("uninstall", "spiderpool", "--namespace", "kube-system", "--wait", "--timeout", "120s");
    assert.deepEqual(suite.stage.failures, []);
    const pods = await suite.list<StoredPod>("pods");
    const own = (name: string) =>
      record((({ metadata }) => metadata)(pods.find((one) => one.metadata.name === name) ?? assert.fail(name)));
    const kept = { "172.18.30.132": own("b"), "172.18.30.135": own("web-0"), "172.18.30.136": own("c") };
    const app = pods.filter(({ metadata }) => metadata.labels?.["app"] === "app");
    const ours = Object.fromEntries(app.map(({ metadata, status }) => [status.podIP ?? "", record(metadata)]));
    assert.deepEqual(await records(), { ...kept, [given]: own("later"), ...ours });
    const endpoints = await suite.list("spiderendpoints");
    assert.deepEqual(
      endpoints.map(({ metadata }) => metadata.name).sort(),
      ["c", "web-0", ...app.map(({ metadata }) => metadata.name)].sort(),
    );
    await suite.stage.helm("install", ...helmArgv);
    await installed(suite.stage);
    await opened();
    assert.deepEqual(Object.keys(await claims()).sort(), Object.keys({ ...kept, [given]: "", ...ours }).sort());
  });
});
