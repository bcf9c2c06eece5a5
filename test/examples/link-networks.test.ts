import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { until } from "../../src/base/testing/until.ts";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const kinds = ["macvlan", "ipvlan", "vlan"] as const;

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
}

/** Whether this machine's kernel makes such links. */
function has(kind: string): boolean {
  const script = `ip link add try0 type veth peer name try1 && ip link add link try0 name try2 type ${kind} ${kind === "vlan" ? "id 1" : ""}`;
  return spawnSync("unshare", ["--net", "sh", "-c", script]).status === 0;
}

describe("the examples of macvlan, ipvlan and vlan", { timeout: 240_000 }, () => {
  let lab: LabHandle;
  let stage: Stage;
  before(async () => {
    lab = await launchProductLab({ nodes: 2, bridges: false });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
  });
  after(() => lab.stop());

  async function podsOf(kind: string): Promise<readonly Pod[]> {
    const { stdout } = await stage.quiet("get", "po", "-l", `app=${kind}-app`, "-o", "json");
    const { items } = JSON.parse(stdout) as {
      items: { metadata: { name: string }; spec: { nodeName: string }; status: { podIP?: string } }[];
    };
    return items.map(({ metadata: { name }, spec: { nodeName }, status: { podIP = "" } }) => ({
      name,
      node: nodeName,
      ip: podIP,
    }));
  }

  async function apply(kind: string): Promise<void> {
    const applied = await stage.quiet("apply", "-f", `${examples}/${kind}/${kind}.yaml`);
    assert.ok(applied.ok, applied.stderr);
    const nad = ["network-attachment-definition", `${kind}-conf`, "-n", "kube-system"] as const;
    await stage.quiet("wait", ...nad, "--for=jsonpath={.spec.config}", "--timeout=120s");
    const { stdout } = await stage.quiet("get", ...nad, "-o", "jsonpath={.spec.config}");
    const types = (JSON.parse(stdout) as { plugins: { type: string }[] }).plugins.map(({ type }) => type);
    assert.deepEqual(types, [kind, "coordinator"]);
  }

  /** A pool is held for a while after its last address was released: that is not waited for. */
  async function remove(kind: string): Promise<void> {
    await stage.quiet("delete", "-f", `${examples}/${kind}/${kind}.yaml`, "--wait=false");
    await stage.quiet("wait", "pod", "--all", "--for=delete", "--timeout=120s");
    assert.deepEqual(await podsOf(kind), []);
  }

  for (const kind of kinds.filter(has)) {
    it(`${kind}: Pods reach each other, their nodes and the gateway by ping and TCP, and leave nothing`, async () => {
      await apply(kind);
      const rolled = await stage.quiet("rollout", "status", `deployment/${kind}-app`, "--timeout=120s");
      const told = await stage.quiet("get", "events", "-o", "jsonpath={.items[*].message}");
      assert.ok(rolled.ok, told.stdout);
      const pods = await podsOf(kind);
      const [a, b] = pods as [Pod, Pod];
      assert.notEqual(a.node, b.node);
      const inPod = async (...argv: readonly string[]) => {
        const { ok, stdout, stderr } = await stage.quiet("exec", "-i", a.name, "--", ...argv);
        assert.ok(ok, `${argv.join(" ")}: ${stdout}${stderr}`);
        return stdout.trim();
      };
      await inPod("ping", "-c", "1", "-i", "0.2", "-w", "60", "-s", "1472", b.ip);
      assert.equal(await inPod("timeout", "60", "wget", "-qO-", `http://${b.ip}/`), b.name);
      if (kind !== "vlan") await inPod("ping", "-c", "1", "-i", "0.2", "-w", "60", "172.18.0.1");
      // The kernel keeps a parent and its children apart: the coordinator's pair of links is the way.
      const probe = ["busybox", "timeout", "60", "busybox", "wget", "-qO-", `http://${a.ip}/`];
      assert.equal((await lab.run({ node: a.node, argv: probe })).trim(), a.name);
      const links = (await stage.quiet("exec", "-i", a.name, "--", "ip", "link", "show", "eth0")).stdout;
      assert.match(links, /eth0@/);
      await remove(kind);
      for (const { name: node } of lab.nodes) {
        assert.doesNotMatch(await lab.run({ node, argv: ["ip", "-o", "link"] }), /: veth/);
      }
    });
  }

  for (const kind of kinds.filter((one) => !has(one))) {
    it(`${kind}: an Event says what a kernel without it lacks`, async () => {
      await apply(kind);
      const found = async () => (await stage.quiet("get", "events", "-o", "jsonpath={.items[*].message}")).stdout;
      const text = `the node's kernel has no ${kind} interfaces`;
      await until("an Event", found, (told) => told.includes(text), { everyMs: 200 });
      await remove(kind);
    });
  }
});
