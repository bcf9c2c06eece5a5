import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { LabHandle } from "../../lab/launch.ts";
import { Stage } from "../../lab/scenarios/stage.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { launchProductLab } from "../../scripts/common/product-lab.ts";
import { manifests } from "../stage.ts";

const group = "spiderpool.spidernet.io/v2beta1";

const pools = [
  { name: "v4", subnet: "172.18.0.0/16", ips: ["172.18.40.1-172.18.40.20"], gateway: "172.18.0.1" },
  { name: "v6", subnet: "fd00:172:18::/64", ips: ["fd00:172:18::40:1-fd00:172:18::40:20"], gateway: "fd00:172:18::1" },
].map(({ name, ...spec }) => ({ apiVersion: group, kind: "SpiderIPPool", metadata: { name }, spec }));

/** Two Pods on two nodes, and a third beside one of them, of the given families. */
const families = { four: { ipv4: ["v4"] }, six: { ipv6: ["v6"] }, both: { ipv4: ["v4"], ipv6: ["v6"] } } as const;

function deployment(name: keyof typeof families) {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: {
          labels: { app: name },
          annotations: {
            "ipam.spidernet.io/ippool": JSON.stringify(families[name]),
            "v1.multus-cni.io/default-network": "kube-system/ovs-conf",
          },
        },
        spec: {
          terminationGracePeriodSeconds: 2,
          containers: [
            {
              name: "web",
              image: "docker.io/library/busybox:1.37",
              command: [
                "sh",
                "-c",
                "mkdir -p /tmp/www && hostname >/tmp/www/index.html && exec httpd -f -p 80 -h /tmp/www",
              ],
              resources: { requests: { cpu: "1m", memory: "4Mi" } },
            },
          ],
        },
      },
    },
  };
}

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly ips: readonly string[];
}

describe("Pods of IPv4, of IPv6 and of both on an Open vSwitch network", { timeout: 240_000 }, () => {
  let lab: LabHandle;
  let stage: Stage;
  let pods: readonly Pod[];
  before(async () => {
    lab = await launchProductLab({ nodes: 2, bridges: true });
    stage = new Stage({ lab, kubectl: await findKubectl(), print: () => {} });
    await stage.kubectl("apply", "-f", `${manifests}/network.yaml`);
    const names = Object.keys(families) as (keyof typeof families)[];
    for (const object of [...pools, ...names.map(deployment)]) {
      const applied = await stage.input(JSON.stringify(object), "apply", "-f", "-");
      assert.equal(applied.stderr, "");
    }
    for (const name of names) await stage.kubectl("rollout", "status", `deployment/${name}`, "--timeout=120s");
    assert.deepEqual(stage.failures, []);
    const { items } = JSON.parse((await stage.quiet("get", "po", "-o", "json")).stdout);
    pods = items.map(
      (pod: { metadata: { name: string }; spec: { nodeName: string }; status: { podIPs: { ip: string }[] } }): Pod => ({
        name: pod.metadata.name,
        node: pod.spec.nodeName,
        ips: pod.status.podIPs.map(({ ip }) => ip),
      }),
    );
  });
  after(() => lab.stop());

  const ofApp = (app: keyof typeof families) => pods.filter(({ name }) => name.startsWith(`${app}-`));
  const inPod = async (pod: Pod, ...argv: readonly string[]) => {
    const { ok, stdout, stderr } = await stage.quiet("exec", "-i", pod.name, "--", ...argv);
    assert.ok(ok, `${argv.join(" ")} in ${pod.name}: ${stdout}${stderr}`);
    return stdout;
  };
  const url = (ip: string) => `http://${ip.includes(":") ? `[${ip}]` : ip}/`;

  for (const app of Object.keys(families) as (keyof typeof families)[]) {
    it(`${app}: have one address of each of their families`, () => {
      const found = ofApp(app).map(({ ips }) => ips.map((ip) => (ip.includes(":") ? "ipv6" : "ipv4")));
      assert.deepEqual(found, Array(3).fill(Object.keys(families[app])));
      assert.equal(new Set(ofApp(app).map(({ node }) => node)).size, 2);
    });

    it(`${app}: reach each other on one node and across, by ping up to the MTU and by TCP`, async () => {
      const [from, ...others] = ofApp(app) as [Pod, ...Pod[]];
      for (const to of others) {
        for (const ip of to.ips) {
          const payload = 1500 - 8 - (ip.includes(":") ? 40 : 20);
          await inPod(from, "ping", "-c", "1", "-i", "0.2", "-w", "60", "-s", String(payload), ip);
          assert.equal((await inPod(from, "timeout", "60", "wget", "-qO-", url(ip))).trim(), to.name);
        }
      }
    });

    it(`${app}: and their own node reach each other, as its probes do, and the gateway`, async () => {
      for (const pod of ofApp(app)) {
        const shown = await lab.run({
          node: pod.node,
          argv: ["ip", "-o", "addr", "show", "dev", "br1", "scope", "global"],
        });
        const addresses = [...shown.matchAll(/inet6? ([^/]+)/g)].map(([, address = ""]) => address);
        for (const ip of pod.ips) {
          const page = await lab.run({ node: pod.node, argv: ["timeout", "60", "busybox", "wget", "-qO-", url(ip)] });
          assert.equal(page.trim(), pod.name);
          const node = addresses.find((one) => one.includes(":") === ip.includes(":")) ?? "";
          const gateway = ip.includes(":") ? "fd00:172:18::1" : "172.18.0.1";
          await inPod(pod, "ping", "-c", "1", "-i", "0.2", "-w", "60", node);
          await inPod(pod, "ping", "-c", "1", "-i", "0.2", "-w", "60", gateway);
        }
      }
    });
  }

  it("leave no port, link, route, rule or neighbour", async () => {
    for (const node of ["node1", "node2"]) {
      const before = await lab.run({ node, argv: ["sh", "-c", "ovs-vsctl list-ports br1 | grep -c veth"] });
      assert.ok(Number(before) >= 4);
    }
    await stage.kubectl("delete", "deployment", ...Object.keys(families));
    const gone = "until ! ovs-vsctl list-ports br1 | grep -q veth && ! ip link | grep -q veth; do sleep 0.1; done";
    for (const node of ["node1", "node2"]) {
      await lab.run({ node, argv: ["timeout", "120", "sh", "-c", gone] });
      const left = await lab.run({
        node,
        argv: ["sh", "-c", "ip route show table 500; ip -6 route show table 500; ip neigh show nud permanent; true"],
      });
      assert.doesNotMatch(left, /172\.18\.40\.|fd00:172:18::40:/);
    }
  });
});
