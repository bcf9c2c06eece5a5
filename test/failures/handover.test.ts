import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createLabClient, type LabClient, textAt } from "../../lab/api/index.ts";
import type { LabHandle } from "../../lab/launch.ts";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { until } from "../../src/base/testing/until.ts";
import { startStage } from "../stage.ts";

const node = "node1";
/** Pods that come and go at once, all the time. */
const lanes = 4;
const podMsMax = 120_000;

/**
 * Starts a second agent on the node as the first one was, in a session of its own, and answers its process ID when it
 * serves: the lock of the run directory is then its own.
 */
const secondAgent = `
const { readdirSync, readFileSync, readlinkSync, openSync } = require("node:fs");
const { spawn } = require("node:child_process");
const read = (pid, file) => { try { return readFileSync("/proc/" + pid + "/" + file, "utf8").split("\\0").slice(0, -1); } catch { return []; } };
const here = readlinkSync("/proc/self/ns/net");
const pid = readdirSync("/proc").find((name) => /^\\d+$/.test(name) && read(name, "cmdline").includes("--cni-conf-dir") &&
  readlinkSync("/proc/" + name + "/ns/net") === here);
const env = Object.fromEntries(read(pid, "environ").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
const log = openSync("/run/second-agent.log", "a");
const [program, ...argv] = read(pid, "cmdline");
const child = spawn(program, argv, { env, detached: true, stdio: ["ignore", log, log] });
child.unref();
console.log(child.pid);
`;

/** Agents replace one another while Pods are added and deleted all the time; the runtime must not see one failed call. */
describe("an agent that is replaced under load", () => {
  let lab: LabHandle;
  let stage: Stage;
  let client: LabClient;
  before(async () => {
    stage = await startStage({ apply: ["pool", "network"] });
    ({ lab } = stage);
    client = createLabClient({ baseUrl: lab.url });
  });
  after(() => lab.stop());

  const onNode = (...argv: readonly string[]) => lab.run({ node, argv });
  const servedBy = (pid: string) =>
    onNode("timeout", "120", "sh", "-c", `until grep -q '"serving"' /run/second-agent.log; do sleep 0.05; done`).catch(
      async () => assert.fail(`agent ${pid} does not serve: ${await onNode("cat", "/run/second-agent.log")}`),
    );

  it("by one that starts when it has ended fails no call", async () => {
    await underLoad(async () => {
      for (let round = 0; round < 3; round++) {
        await lab.hold({ node, program: "agent", held: true });
        await lab.hold({ node, program: "agent", held: false });
        await added(3);
      }
    });
  });

  it("by one that starts beside it fails no call, and the replaced one does not come back", async () => {
    await underLoad(async () => {
      const pid = (await onNode(process.execPath, "-e", secondAgent)).trim();
      await servedBy(pid);
      await added(3);
      await lab.hold({ node, program: "agent", held: true });
      await added(3);
      // The lab's agent takes over from the second one, which stays until it is told to end.
      await lab.hold({ node, program: "agent", held: false });
      await added(3);
      await onNode("kill", "-TERM", pid);
      await onNode("timeout", "120", "sh", "-c", `while kill -0 ${pid} 2>/dev/null; do sleep 0.05; done`);
      await added(3);
    });
  });

  it("by one that cannot reach the API server still takes a sandbox down", async () => {
    await client.create("v1/pods", podNamed("stranded"));
    const ready = await stage.quiet("wait", "pod/stranded", "--for=condition=Ready", "--timeout=120s");
    assert.ok(ready.ok, ready.stderr);
    const [container = ""] = (await onNode("ls", "/var/lib/spiderpool/sandboxes")).split("@");
    await lab.hold({ node, program: "kubelet", held: true });
    await lab.hold({ node, program: "agent", held: true });
    await onNode("ip", "link", "set", "mgmt0", "down");
    await lab.hold({ node, program: "agent", held: false });
    const conf = "cat /etc/cni/net.d/00-multus.conf";
    const env = `CNI_COMMAND=DEL CNI_CONTAINERID=${container} CNI_NETNS= CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin`;
    assert.equal(await onNode("sh", "-c", `${conf} | ${env} /opt/cni/bin/multus`), "");
    assert.equal((await onNode("ls", "/var/lib/spiderpool/sandboxes")).trim(), "");
  });

  let count = 0;
  let next = 0;
  /** Resolves when so many further Pods have become Ready. */
  async function added(more: number): Promise<void> {
    const goal = count + more;
    await until(
      `${goal} Pods are Ready`,
      () => count,
      (ready) => ready >= goal,
      { withinMs: podMsMax },
    );
  }

  async function underLoad(act: () => Promise<void>): Promise<void> {
    let over = false;
    const lane = async () => {
      while (!over) await comeAndGo(`load-${next++}`);
    };
    const load = Promise.all(Array.from({ length: lanes }, lane));
    try {
      await Promise.race([act(), load]);
    } finally {
      over = true;
      await load;
    }
    const bad = (await client.list("v1/events"))
      // What the runtime's calls come to; that a Pod deleted meanwhile was cut off is as it should be.
      .filter((event) => ["FailedCreatePodSandBox", "FailedKillPod"].includes(textAt(event, "reason")))
      // The lab's kubelet, racing with itself for its own files, has nothing to do with the network.
      .filter((event) => !textAt(event, "message").includes("/var/lib/kubelet/sandboxes/"))
      .map(
        (event) => `${textAt(event, "reason")} ${textAt(event, "involvedObject", "name")}: ${textAt(event, "message")}`,
      );
    assert.deepEqual(bad, []);
    const drained = "--for=jsonpath={.status.allocatedIPCount}=0";
    assert.ok((await stage.quiet("wait", "spiderippool/ippool-test", drained, "--timeout=120s")).ok);
    assert.equal((await stage.quiet("get", "sia", "-o", "name")).stdout, "");
    // The DEL of a Pod whose object is gone comes when the runtime comes to it.
    const records = "/var/lib/spiderpool/sandboxes";
    await onNode("timeout", "120", "sh", "-c", `until [ -z "$(ls ${records})" ]; do sleep 0.05; done`).catch(async () =>
      assert.fail(`left: ${await onNode("ls", records)}`),
    );
  }

  async function comeAndGo(name: string): Promise<void> {
    await client.create("v1/pods", podNamed(name));
    const seconds = `--timeout=${podMsMax / 1_000}s`;
    const ready = await stage.quiet("wait", `pod/${name}`, "--for=condition=Ready", seconds);
    assert.ok(ready.ok, `${name}: ${ready.stderr}`);
    count += 1;
    await client.delete("v1/pods", { namespace: "default", name });
    const gone = await stage.quiet("wait", `pod/${name}`, "--for=delete", seconds);
    assert.ok(gone.ok, `${name}: ${gone.stderr}`);
  }
});

function podNamed(name: string): object {
  const annotations = {
    "ipam.spidernet.io/ippool": '{"ipv4":["ippool-test"]}',
    "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
  };
  const containers = [{ name: "app", image: "none", command: ["sleep", "1000"] }];
  const spec = { nodeName: node, terminationGracePeriodSeconds: 0, containers };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default", annotations }, spec };
}
