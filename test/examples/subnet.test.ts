import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";

const examples = fileURLToPath(new URL("../../examples", import.meta.url));
const untilMs = 120_000;

interface Pool {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly ips: readonly string[]; readonly gateway?: string };
}

/** examples/subnet, from `kubectl apply` to `kubectl delete`, with admission, rights and schemas as they are in a cluster. */
describe("an application with a subnet", { timeout: 240_000 }, () => {
  let lab: LabHandle;
  let stage: Stage;
  before(async () => {
    lab = await launchProductLab({ nodes: 2, bridges: true });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    await stage.kubectl("apply", "-f", `${examples}/ovs/network.yaml`, "-f", `${examples}/subnet/subnet.yaml`);
    await stage.kubectl("apply", "-f", `${examples}/subnet/app.yaml`);
    await stage.kubectl("rollout", "status", "deployment/subnet-app", "--timeout=120s");
    assert.deepEqual(stage.failures, []);
  });
  after(() => lab.stop());

  const json = async <T>(...argv: readonly string[]): Promise<T> => {
    const { ok, stdout, stderr } = await stage.quiet(...argv, "-o", "json");
    assert.ok(ok, stderr);
    return JSON.parse(stdout);
  };
  const pools = async () => (await json<{ items: readonly Pool[] }>("get", "spiderippools")).items;
  const subnet = () => json<{ status: Readonly<Record<string, unknown>> }>("get", "spidersubnet", "subnet-test");
  const eventually = async (check: () => Promise<void>) => {
    for (const endMs = Date.now() + untilMs; ; await sleep(100)) {
      try {
        await check();
        return;
      } catch (error) {
        if (Date.now() > endMs) throw error;
      }
    }
  };

  it("runs its Pods with addresses of a pool of its own", async () => {
    const [pool, ...others] = await pools();
    assert.match(pool?.metadata.name ?? "", /^auto4-subnet-app-eth0-[0-9a-f]{5}$/);
    assert.deepEqual([pool?.spec.ips, pool?.spec.gateway, others], [["172.18.50.1-172.18.50.3"], "172.18.0.1", []]);
    const found = await json<{ items: { status: { podIP: string } }[] }>("get", "po", "-l", "app=subnet-app");
    const ips = found.items.map(({ status }) => status.podIP).sort();
    assert.equal(ips.length, 2);
    for (const ip of ips) assert.match(ip, /^172\.18\.50\.[123]$/);
    const { status } = await subnet();
    assert.deepEqual([status["totalIPCount"], status["allocatedIPCount"]], [100, 3]);
  });

  it("auto pool ips not hand-editable", async () => {
    const [pool] = await pools();
    const patch = JSON.stringify({ spec: { ips: ["172.18.50.1-172.18.50.9"] } });
    const { ok, stderr } = await stage.quiet("patch", "sp", pool?.metadata.name ?? "", "--type=merge", "-p", patch);
    assert.equal(ok, false);
    assert.match(stderr, /it's illegal to update AutoPool\.Spec\.IPs that are different from/);
  });

  it("manual subset accepted, superset refused; inheritance on link", async () => {
    const manual = (ips: string) =>
      JSON.stringify({
        apiVersion: "spiderpool.spidernet.io/v2beta1",
        kind: "SpiderIPPool",
        metadata: { name: "manual" },
        spec: { subnet: "172.18.0.0/16", ips: [ips] },
      });
    const refused = await stage.input(manual("172.18.50.90-172.18.50.110"), "apply", "-f", "-");
    assert.match(refused.stderr, /add some IP ranges \[172\.18\.50\.101-172\.18\.50\.110\] that are not contained in/);
    assert.equal((await stage.input(manual("172.18.50.4-172.18.50.5"), "apply", "-f", "-")).stderr, "");
    await eventually(async () => assert.equal((await subnet()).status["allocatedIPCount"], 5));
    assert.equal((await pools()).find(({ metadata }) => metadata.name === "manual")?.spec.gateway, "172.18.0.1");
    const taken = JSON.stringify({ spec: { excludeIPs: ["172.18.50.4"] } });
    const { stderr } = await stage.quiet("patch", "ss", "subnet-test", "--type=merge", "-p", taken);
    assert.match(stderr, /remove some IP ranges \[172\.18\.50\.4\] that is being used by IPPool manual/);
  });

  it("scale up and down: the pool follows, and the new Pods run", async () => {
    await stage.kubectl("scale", "deployment/subnet-app", "--replicas=4");
    await stage.kubectl("rollout", "status", "deployment/subnet-app", "--timeout=120s");
    const ipsOf = async () => (await pools()).find(({ metadata }) => metadata.name.startsWith("auto4"))?.spec.ips;
    assert.deepEqual(await ipsOf(), ["172.18.50.1-172.18.50.3", "172.18.50.6-172.18.50.7"]);
    await stage.kubectl("scale", "deployment/subnet-app", "--replicas=1");
    await eventually(async () => assert.equal((await subnet()).status["allocatedIPCount"], 4));
    await eventually(async () => {
      const claims = await json<{ items: { spec: { purpose: string } }[] }>("get", "spideripaddresses");
      assert.deepEqual(
        claims.items.map(({ spec }) => spec.purpose),
        ["Pod"],
      );
    });
    assert.deepEqual(stage.failures, []);
  });

  it("Job finished with success/failure: has a pool for its Pods, and their addresses are free while it is kept", async () => {
    const job = (name: string, command: string, spec: object) =>
      JSON.stringify({
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name },
        spec: {
          ...spec,
          template: {
            metadata: {
              annotations: {
                "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
                "ipam.spidernet.io/subnet": '{"ipv4":["subnet-test"]}',
                "ipam.spidernet.io/ippool-ip-number": "+0",
              },
            },
            spec: {
              restartPolicy: "Never",
              containers: [{ name: "once", image: "busybox", command: ["sh", "-c", command] }],
            },
          },
        },
      });
    await stage.input(job("good", "exit 0", { completions: 2, parallelism: 2 }), "apply", "-f", "-");
    await stage.input(job("bad", "exit 1", { backoffLimit: 0 }), "apply", "-f", "-");
    await stage.kubectl("wait", "job/good", "--for=condition=complete", "--timeout=120s");
    await stage.kubectl("wait", "job/bad", "--for=condition=failed", "--timeout=120s");
    assert.equal((await subnet()).status["allocatedIPCount"], 7);
    await eventually(async () => {
      const claims = await json<{ items: { spec: { podName: string } }[] }>("get", "spideripaddresses");
      const held = claims.items.map(({ spec }) => spec.podName).filter((pod) => /^(good|bad)-/.test(pod));
      assert.deepEqual(held, []);
    });
    const finished = await json<{ items: { status: { phase: string } }[] }>("get", "pods", "-l", "job-name");
    assert.deepEqual(finished.items.map(({ status }) => status.phase).sort(), ["Failed", "Succeeded", "Succeeded"]);
    assert.deepEqual(stage.failures, []);
  });

  it("goes with its pool", async () => {
    await stage.kubectl("delete", "-f", `${examples}/subnet/app.yaml`, "--wait=false");
    await eventually(async () => {
      const [pool] = (await pools()).filter(({ metadata }) => metadata.name.startsWith("auto4-subnet-app-"));
      assert.notEqual((pool?.metadata as { deletionTimestamp?: string } | undefined)?.deletionTimestamp, undefined);
    });
  });

  it("a deleted subnet takes the pools along that were made by hand, too", async () => {
    await stage.kubectl("delete", "spidersubnet", "subnet-test", "--wait=false");
    await eventually(async () => {
      const manual = (await pools()).find(({ metadata }) => metadata.name === "manual");
      assert.notEqual((manual?.metadata as { deletionTimestamp?: string } | undefined)?.deletionTimestamp, undefined);
    });
    assert.equal((await subnet()).status["allocatedIPCount"], 7);
  });
});
