import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { until } from "../../src/base/testing/until.ts";
import { manifests } from "../stage.ts";

/** The pool's addresses but for the last. */
const taken = Array.from({ length: 9 }, (_, at) => `172.18.30.${131 + at}`);
const free = "172.18.30.140";

describe("a network on which somebody else uses addresses of the pool", () => {
  const folder = mkdtempSync(join(tmpdir(), "detection-"));
  let lab: LabHandle;
  let stage: Stage;
  before(async () => {
    const config = join(folder, "conf.yml");
    writeFileSync(config, "enableIPConflictDetection: true\nenableGatewayDetection: true\n");
    lab = await launchProductLab({ nodes: 2, bridges: true, config });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    for (const file of ["pool", "network"]) await stage.kubectl("apply", "-f", `${manifests}/${file}.yaml`);
    assert.deepEqual(stage.failures, []);
  });
  after(async () => {
    await lab.stop();
    rmSync(folder, { recursive: true });
  });

  it("gives Pods only addresses for which nobody answers, and notes who answered for the others", async () => {
    const onSwitch = (...argv: readonly string[]) => lab.run({ argv: ["nsenter", "--net=/run/netns/switch", ...argv] });
    for (const address of taken) await onSwitch("ip", "addr", "add", `${address}/32`, "dev", "br0");
    const link = await onSwitch("ip", "-o", "link", "show", "br0");
    await stage.kubectl("apply", "-f", `${manifests}/app.yaml`);
    // Two Pods, one free address: whoever is later meets the others, and so did the first, perhaps.
    await until("the Pod has the free address", podIps, (ips) => ips.includes(free), { withinMs: 240_000 });
    await until("an address is in quarantine", quarantined, (kept) => kept.length > 0);
    assert.deepEqual(await podIps(), [free]);
    for (const { address, mac } of await quarantined()) {
      assert.ok(taken.includes(address), address);
      assert.ok(link.includes(`link/ether ${mac} `), mac);
    }
    const page = await lab.run({
      node: "node1",
      argv: ["timeout", "60", "busybox", "wget", "-qO-", `http://${free}/`],
    });
    assert.match(page, /^test-app-/);
  });

  const podIps = async () => {
    const { stdout } = await stage.quiet("get", "po", "-o", "jsonpath={range .items[*]}{.status.podIP} {end}");
    return stdout.split(" ").filter((ip) => ip !== "");
  };
  const quarantined = async (): Promise<readonly { readonly address: string; readonly mac: string }[]> => {
    const { stdout } = await stage.quiet("get", "sia", "-o", "json");
    const { items } = JSON.parse(stdout) as {
      readonly items: readonly { readonly spec: { purpose: string; address: string; mac: string } }[];
    };
    return items.map(({ spec }) => spec).filter(({ purpose }) => purpose === "Quarantine");
  };
});
