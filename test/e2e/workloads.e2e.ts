import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { ledgerIsEmpty, settled } from "./audit.ts";
import { type KubeObject, manifests, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { deployment, pod, statefulSet } from "./workloads.ts";

interface Claim extends KubeObject {
  readonly spec: {
    readonly address: string;
    readonly pool: string;
    readonly node: string;
    readonly podNamespace: string;
  };
}

describe("workloads with addresses of a pool", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("workloads", { bridges: true });
    await suite.kubectl("apply", "-f", `${manifests}/pool.yaml`, "-f", `${manifests}/network.yaml`);
  });
  afterEach(() => suite.stage.quiet("delete", "deploy,sts,pods", "--all", "--wait=true"));
  after(() => suite?.[Symbol.asyncDispose]());

  const rolledOut = (what: string) => suite.kubectl("rollout", "status", what, "--timeout=300s");
  const erase = async (...what: readonly string[]) => {
    await suite.kubectl("delete", ...what, "--wait=true", "--timeout=300s");
    await until("all Pods gone", async () => ((await suite.list("pods")).length === 0 ? true : undefined));
    await ledgerIsEmpty(suite);
    await settled(suite);
  };

  /** What the command line tool says in the controller's Pod, which has it with the rights of the controller. */
  const inController = async (...argv: readonly string[]) => {
    const exec = ["exec", "-n", "kube-system", "deploy/spiderpool-controller", "--", "spiderpoolctl", ...argv];
    const { stdout, stderr } = await suite.stage.quiet(...exec);
    return stdout + stderr;
  };

  it("a rolling update under load stays inside the pool, and no address is given twice", async () => {
    await suite.apply(deployment("rolling", 4));
    await rolledOut("deployment/rolling");
    for (let round = 0; round < 2; round += 1) {
      await suite.kubectl("rollout", "restart", "deployment/rolling");
      await rolledOut("deployment/rolling");
    }
    await until("the old Pods are gone", async () => ((await suite.podsOf("rolling")).length === 4 ? true : undefined));
    for (const { status } of await suite.podsOf("rolling"))
      assert.match(status.podIP ?? "", /^172\.18\.30\.1(3[1-9]|40)$/);
    await settled(suite);
    await erase("deployment/rolling");
  });

  it("ten Pods have the ten addresses, the eleventh says what to do and starts when one is released", async () => {
    await suite.apply(deployment("full", 10));
    await rolledOut("deployment/full");
    await suite.apply(pod("eleventh"));
    const message = await until("an Event that says that the pool is full", async () => {
      const events = await suite.list<{ readonly message: string }>("events", {
        fields: "involvedObject.name=eleventh,reason=IPPoolExhausted",
      });
      return events[0]?.message;
    });
    assert.match(message, /all 10 addresses of IPPool ippool-test are in use\. What to do: /);
    const asked = await inController("explain", "pod", "eleventh", "-n", "default");
    assert.match(asked, /✘ ippool-test +IPv4 .*all 10 addresses/);
    assert.match(await inController("doctor"), /pod-without-network .*default\/eleventh/);
    assert.match(await inController("check"), /^All sources agree/);
    await settled(suite);
    await suite.kubectl("scale", "deployment/full", "--replicas=9");
    await suite.kubectl("wait", "pod/eleventh", "--for=condition=Ready", "--timeout=300s");
    await settled(suite);
    await erase("deployment/full", "pod/eleventh");
  });

  it("a StatefulSet's Pods keep their addresses across a restart, and move to another node with them", async () => {
    await suite.apply(statefulSet("fixed", 3));
    await rolledOut("statefulset/fixed");
    const addresses = async () =>
      Object.fromEntries((await suite.podsOf("fixed")).map(({ metadata, status }) => [metadata.name, status.podIP]));
    const first = await addresses();
    assert.equal(new Set(Object.values(first)).size, 3);
    // Others ask for addresses meanwhile.
    await suite.apply(deployment("others", 3));
    await rolledOut("deployment/others");
    await suite.kubectl("rollout", "restart", "statefulset/fixed");
    await rolledOut("statefulset/fixed");
    assert.deepEqual(await addresses(), first);

    await suite.kubectl("cordon", "node1");
    const former = new Set((await suite.podsOf("fixed")).map(({ metadata }) => metadata.uid));
    // Not by kubectl's own waiting, which may wait for a successor of the same name to go.
    await suite.kubectl("delete", "pods", "-l", "app=fixed", "--wait=false");
    await until("the former Pods are gone", async () =>
      (await suite.podsOf("fixed")).some(({ metadata }) => former.has(metadata.uid)) ? undefined : true,
    );
    await rolledOut("statefulset/fixed");
    assert.deepEqual(new Set((await suite.podsOf("fixed")).map(({ spec }) => spec.nodeName)), new Set(["node2"]));
    assert.deepEqual(await addresses(), first);
    await suite.kubectl("uncordon", "node1");
    await settled(suite);
    await suite.kubectl("scale", "statefulset/fixed", "--replicas=1");
    await until("the addresses of the two that are gone are free", async () => {
      const held = (await suite.list("spideripaddresses")).map(({ metadata }) => metadata.name);
      return [first["fixed-1"], first["fixed-2"]].some((ip) => held.includes(ip ?? "")) ? undefined : true;
    });
    await erase("statefulset/fixed", "deployment/others");
  });

  it("the examples of the guides draw from the pools that they say, on both nodes", async () => {
    const files = ["namespace", "nodes", "backup", "reserved", "nics"].flatMap((name) => [
      "-f",
      `${manifests}/../ipam/${name}.yaml`,
    ]);
    await suite.kubectl("apply", ...files);
    for (const app of ["rack-app", "backup-app", "office-app"]) await rolledOut(`deployment/${app}`);
    await suite.kubectl("rollout", "status", "deployment/team-app", "-n", "team-a", "--timeout=300s");
    await suite.kubectl("wait", "pod/two-nics", "--for=condition=Ready", "--timeout=300s");
    const claims = await suite.list<Claim>("spideripaddresses");
    const counts = Object.fromEntries(
      Object.entries(Object.groupBy(claims, ({ spec }) => spec.pool)).map(([name, of = []]) => [name, of.length]),
    );
    const wanted = { "team-a": 2, "rack-1": 1, "rack-2": 1, primary: 1, backup: 1, office: 1, users: 1, storage: 1 };
    assert.deepEqual(counts, wanted);
    for (const { spec } of claims) {
      if (spec.pool.startsWith("rack-")) assert.equal(spec.node, `node${spec.pool.slice("rack-".length)}`);
      if (spec.pool === "team-a") assert.equal(spec.podNamespace, "team-a");
      if (spec.pool === "office") assert.doesNotMatch(spec.address, /^172\.18\.64\.[123]$/);
    }
    await settled(suite);
    await suite.kubectl("delete", ...files, "--wait=false");
    await ledgerIsEmpty(suite);
  });
});
