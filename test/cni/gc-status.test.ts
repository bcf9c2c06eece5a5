import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { LabHandle } from "../../lab/launch.ts";
import { manifests, startStage } from "../stage.ts";

const node = "node1";

/** The verbs of CNI 1.1.0, called as a runtime calls them, on a node with running Pods. */
describe("GC and STATUS", () => {
  let lab: LabHandle;
  before(async () => {
    const stage = await startStage({ apply: ["pool", "network"] });
    ({ lab } = stage);
    const two = readFileSync(`${manifests}/more.yaml`, "utf8").replace("replicas: 9", "replicas: 2");
    writeFileSync(`${lab.directory}/two.yaml`, two);
    await stage.kubectl("apply", "-f", `${lab.directory}/two.yaml`);
    await stage.kubectl("rollout", "status", "deployment/test-app-more", "--timeout=120s");
    assert.deepEqual(stage.failures, []);
    // From here on the runtime is this test.
    await lab.hold({ node, program: "kubelet", held: true });
  });
  after(() => lab.stop());

  const onNode = (script: string, input = "") => lab.run({ node, argv: ["sh", "-c", script], input });
  const ports = async () =>
    (await onNode("ovs-vsctl list-ports br1")).split("\n").filter((name) => name.startsWith("veth"));
  const containers = async () =>
    (await onNode("ls /var/lib/spiderpool/sandboxes")).split("\n").flatMap((name) => name.split("@eth0.json")[0] || []);

  function call(verb: string, more: object): Promise<string> {
    const conf = {
      cniVersion: "1.1.0",
      name: "multus-cni-network",
      type: "multus",
      clusterNetwork: "ovs-conf",
      ...more,
    };
    return onNode(`CNI_COMMAND=${verb} CNI_PATH=/opt/cni/bin /opt/cni/bin/multus || true`, JSON.stringify(conf));
  }

  it("GC spares other networks, and with an empty list every sandbox that lives", async () => {
    const before = await containers();
    assert.equal(before.length, 2);
    await call("GC", { name: "another-network", "cni.dev/valid-attachments": [] });
    await call("GC", { "cni.dev/valid-attachments": [] });
    assert.deepEqual(await containers(), before);
    assert.equal((await ports()).length, 2);
  });

  it("GC takes down what the runtime no longer knows, and nothing else", async () => {
    const [kept = "", dropped] = await containers();
    assert.notEqual(dropped, undefined);
    assert.equal(await call("GC", { "cni.dev/valid-attachments": [{ containerID: kept, ifname: "eth0" }] }), "");
    assert.deepEqual(await containers(), [kept]);
    assert.equal((await ports()).length, 1);
  });

  it("STATUS succeeds while the default network's bridge is there, and says what is missing when it is not", async () => {
    assert.equal(await call("STATUS", {}), "");
    await onNode("ovs-vsctl del-br br1");
    assert.match(await call("STATUS", {}), /"code": 50,[\s\S]*no such Open vSwitch bridge[\s\S]*br1/);
  });
});
