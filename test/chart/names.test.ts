import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { labels, programSelector } from "#api";
import { systemClock } from "#base";
import { clusterChecks, readCluster, readVersions, runChecks } from "#doctor";
import { daemonSets, deployments, KubeClient, pods } from "#kube";
import { FakeApi } from "../../src/kube/testing/fake-api.ts";
import { type Rendered, render } from "./render.ts";

const signal = AbortSignal.timeout(60_000);
/** A release none of whose names is the default, and whose user has put our label onto all objects by mistake. */
const named = render(
  "--release=rel",
  "global.nameOverride=foo",
  "global.configName=settings",
  "spiderpoolAgent.name=a-node",
  "spiderpoolController.name=the-leader",
  "spiderpoolInit.name=first",
  `--set-json=global.commonLabels={"${labels.program}":"mine"}`,
  `--set-json=spiderpoolAgent.podLabels={"${labels.program}":"mine"}`,
);

describe("a release with names of its own", () => {
  let api: FakeApi;
  let client: KubeClient;
  before(async () => {
    const { get } = await named;
    api = new FakeApi();
    client = new KubeClient({ transport: api, clock: systemClock });
    const [agents, controllers] = [get("DaemonSet"), get("Deployment")];
    api.apply(daemonSets, agents);
    api.apply(deployments, controllers);
    api.apply(pods, podOfTemplate(agents, "node1"));
    api.apply(pods, podOfTemplate(controllers, "node2"));
  });

  it("has its programs found by a label that no value changes", async () => {
    const found = async (what: "agent" | "controller") =>
      (await Array.fromAsync(client.listAll(pods, { labelSelector: programSelector(what), signal }))).map(
        ({ metadata }) => metadata.name,
      );
    assert.deepEqual([await found("agent"), await found("controller")], [["a-node-x"], ["the-leader-x"]]);
    const others = (await named).objects.filter(({ kind }) => /^(Job|ConfigMap)$/.test(kind));
    for (const { kind, metadata } of others)
      assert.equal(metadata.labels[labels.program], "mine", `${kind} ${metadata.name}`);
  });

  it("asks no webhook about what the hook before an installation writes: nobody may be there to answer", async () => {
    const { objects } = await named;
    const [hook] = objects.filter(({ kind, metadata }) => kind === "Job" && /pre-upgrade$/.test(metadata.name));
    const account = `system:serviceaccount:kube-system:${hook?.spec.template.spec.serviceAccountName}`;
    const webhooks = objects
      .filter(({ kind }) => /WebhookConfiguration$/.test(kind))
      .flatMap((one) => one["webhooks"] as readonly { failurePolicy: string; matchConditions: object }[])
      .filter(({ failurePolicy }) => failurePolicy === "Fail");
    assert.ok(webhooks.length >= 8);
    for (const { matchConditions } of webhooks)
      assert.deepEqual(matchConditions, [
        { name: "not-the-hook", expression: `request.userInfo.username != '${account}'` },
      ]);
  });

  it("is seen by the doctor, healthy and not", async () => {
    const facts = await readCluster(client, new Date(), { signal });
    assert.deepEqual(
      facts.processes.map(({ pod, workload }) => [pod, workload]),
      [
        ["a-node-x", "daemonset/a-node"],
        ["the-leader-x", "deployment/the-leader"],
      ],
    );
    assert.deepEqual(runChecks(clusterChecks, facts, "cluster"), []);
    api.remove(pods, { namespace: "kube-system", name: "a-node-x" });
    const found = runChecks(clusterChecks, await readCluster(client, new Date(), { signal }), "cluster");
    assert.deepEqual(
      found.map(({ id, found }) => `${id}: ${found}`),
      ["not-running: kube-system: daemonset/a-node has no Pod: no Pod gets an address"],
    );
  });

  it("has its versions told", async () => {
    api.apply(pods, podOfTemplate((await named).get("DaemonSet"), "node1"));
    assert.deepEqual(await readVersions(client, "node1", { signal }), {
      ...{ agent: "v0.1.0", controllers: ["v0.1.0"] },
      differ: false,
    });
  });
});

function podOfTemplate({ metadata, spec }: Rendered, nodeName: string): Rendered {
  const { namespace, name } = metadata;
  return {
    metadata: { namespace, name: `${name}-x`, labels: spec.template.metadata.labels },
    spec: { ...spec.template.spec, nodeName },
  };
}
