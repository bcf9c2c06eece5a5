import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chart, installed } from "../cluster/product.ts";
import { settled } from "./audit.ts";
import { type KubeObject, manifests, type Suite, startSuite, until } from "./suite.ts";
import { deployment, pod, pool } from "./workloads.ts";

interface PodLike extends KubeObject {
  readonly status: { readonly podIP?: string };
}

const options = { pools: { ipv4: ["large"] } };
const kept = 6;

describe("when the ledger is lost under running Pods", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("ledger", { bridges: true });
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    await suite.apply(pool("large", "172.18.50.1-172.18.50.100"), deployment("kept", kept, options));
    await suite.kubectl("rollout", "status", "deployment/kept", "--timeout=90s");
    await settled(suite);
  });
  after(() => suite[Symbol.asyncDispose]());

  const addresses = async () =>
    (await suite.list<PodLike>("pods", "-l", "app=kept")).map(({ status }) => status.podIP ?? "").sort();
  const ready = (what: string) => suite.kubectl("wait", what, "--for=condition=Ready", "--timeout=120s");

  it("its definition was deleted: an upgrade brings it back, agents make their claims again, and nothing is double", async () => {
    const first = await addresses();
    await suite.kubectl("delete", "crd", "spideripaddresses.spiderpool.spidernet.io", "--timeout=60s");
    await suite.apply(pod("new", options));
    await suite.stage.helm("upgrade", "spiderpool", chart, "--namespace", "kube-system", "--reuse-values");
    await installed(suite.stage);
    assert.deepEqual(suite.stage.failures, []);
    await ready("pod/new");
    await settled(suite);
    assert.deepEqual(await addresses(), first);
    await suite.kubectl("delete", "deploy,pods", "--all", "--wait=true", "--timeout=120s");
    await until("the ledger is empty", async () => ((await suite.list("sia")).length === 0 ? true : undefined));
    await settled(suite);
  });
});
