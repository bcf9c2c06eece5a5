import assert from "node:assert/strict";
import { it } from "node:test";
import { daemonSets, deployments } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

it("doctor says what it could not examine, so that finding nothing is not taken for health", async () => {
  const api = new FakeApi();
  const bare = await runCtl(api, ["doctor"]);
  assert.equal(bare.status, 0);
  assert.match(
    bare.err,
    /^No agent and no controller of Spiderpool is installed in this cluster: .*\nNothing was found\.\n$/,
  );
  const install = (program: string) => {
    const labels = { "spiderpool.spidernet.io/program": program };
    const template = { metadata: { labels }, spec: { containers: [{ name: program, image: "i" }] } };
    const spec = { selector: { matchLabels: labels }, template };
    return { metadata: { namespace: "kube-system", name: program, labels }, spec: { ...spec, replicas: 0 } };
  };
  api.apply(daemonSets, install("agent") as never);
  api.apply(deployments, install("controller") as never);
  api.fail(({ path }) => path.includes("cilium-config"), { kind: "status", status: 403, reason: "Forbidden" });
  const { err } = await runCtl(api, ["doctor"]);
  assert.match(err, /^Not examined, because this account may not read it: configmaps\.\n/);
});
