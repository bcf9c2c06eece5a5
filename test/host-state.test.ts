import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { findKubectl } from "../lab/kubectl.ts";
import type { LabHandle } from "../lab/launch.ts";
import { Stage } from "../lab/scenarios/stage.ts";
import { launchProductLab } from "../scripts/product-lab.ts";

const manifests = fileURLToPath(new URL("../examples/ovs", import.meta.url));
/** Ends as soon as the node's rule and a Pod's route are there, or after 5 s in vain. */
const untilBoth = `until ip rule show pref 1000 | grep -q "lookup 500" && ip route show table 500 | grep -q "^172.18.30."
do sleep 0.05; done`;

describe("host rules and routes of running Pods", () => {
  let lab: LabHandle;
  let stage: Stage;
  before(async () => {
    lab = await launchProductLab({ nodes: 2, bridges: true });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    for (const file of ["pool", "network", "app"]) await stage.kubectl("apply", "-f", `${manifests}/${file}.yaml`);
    await stage.kubectl("rollout", "status", "deployment/test-app", "--timeout=40s");
    assert.deepEqual(stage.failures, []);
  });
  after(() => lab.stop());

  for (const [what, ...command] of [
    ["rules were flushed", "ip", "rule", "flush"],
    ["routes were flushed", "ip", "route", "flush", "table", "500"],
  ] as const) {
    it(`are restored after all ${what}`, async () => {
      await lab.run({ node: "node1", argv: command });
      if (what.startsWith("rules")) {
        // A flush takes the kernel's own rules, too; those are the administrator's to put back.
        await lab.run({
          node: "node1",
          argv: ["sh", "-c", "ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default"],
        });
      }
      await lab.run({ node: "node1", argv: ["timeout", "5", "sh", "-c", untilBoth] });
      const pods = await stage.quiet(
        "get",
        "po",
        "-o",
        `jsonpath={range .items[?(@.spec.nodeName=="node1")]}{.status.podIP}{end}`,
      );
      const page = await lab.run({
        node: "node1",
        argv: ["timeout", "5", "busybox", "wget", "-qO-", `http://${pods.stdout}/`],
      });
      assert.match(page, /^test-app-/);
    });
  }
});
