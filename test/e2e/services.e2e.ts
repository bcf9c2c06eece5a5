import assert from "node:assert/strict";
import { isIP } from "node:net";
import { after, before, describe, it } from "node:test";
import { nodePlan } from "../../lab/topology/index.ts";
import { type KubeObject, manifests, type Suite, startSuite } from "./suite.ts";
import { until } from "./until.ts";
import { pod, pool } from "./workloads.ts";

interface PodLike extends KubeObject {
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIP: string; readonly podIPs: readonly { readonly ip: string }[] };
}

const nodes = ["node1", "node2"] as const;
const modes = ["nftables", "iptables"] as const;
const options = { pools: { ipv4: ["large"], ipv6: ["six"] } };
const nodePort = 30_080;
/** Every port of ours elsewhere than at all addresses. */
const bound = [
  ...["spiderpoolAgent.prometheus.enabled=true", "spiderpoolAgent.prometheus.bindAddress=127.0.0.2"],
  ...["spiderpoolController.prometheus.enabled=true", "spiderpoolController.prometheus.bindAddress=127.0.0.2"],
  ...["spiderpoolController.httpBindAddress=node", "spiderpoolController.webhookBindAddress=node"],
].flatMap((value) => ["--set", value]);

/** A web server that kubelet asks in three ways, at its underlay address. */
function probedPod(name: string, node: string): object {
  const made = pod(name, { ...options, node }) as {
    readonly spec: { readonly containers: readonly object[] };
    readonly metadata: { readonly labels: object };
  };
  const httpGet = { httpGet: { path: "/", port: 80 } };
  const probes = {
    startupProbe: { ...httpGet, periodSeconds: 1, failureThreshold: 30 },
    readinessProbe: { ...httpGet, periodSeconds: 1, failureThreshold: 1 },
    livenessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1, failureThreshold: 3 },
  };
  const containers = made.spec.containers.map((container) => ({ ...container, ...probes }));
  const labels = { ...made.metadata.labels, tier: "web" };
  return { ...made, metadata: { ...made.metadata, labels }, spec: { ...made.spec, containers } };
}

/** Of both families. */
function service(name: string, selector: object, more: object = {}): object {
  const ports = [{ port: 80, ...more }];
  const type = "nodePort" in more ? "NodePort" : "ClusterIP";
  const spec = { type, ipFamilyPolicy: "RequireDualStack", selector, ports };
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec };
}

describe("Services of underlay Pods", () => {
  let suite: Suite;
  before(async () => {
    suite = await startSuite("services", { bridges: true, dualStack: true, flags: bound });
    await suite.kubectl("apply", "-f", `${manifests}/network.yaml`);
    const six = { subnet: "fd00:172:18::/64", gateway: "fd00:172:18::1" };
    await suite.apply(
      pool("large", "172.18.50.1-172.18.50.100"),
      pool("six", "fd00:172:18::50:1-fd00:172:18::50:f", six),
    );
    const nad = ["net-attach-def/ovs-conf", "-n", "kube-system"];
    await suite.kubectl("wait", ...nad, "--for=jsonpath={.spec.config}", "--timeout=300s");
    await suite.apply(
      ...nodes.flatMap((node) => [
        probedPod(`web-${node}`, node),
        pod(`client-${node}`, { ...options, node }),
        service(`only-${node}`, { app: `web-${node}` }),
      ]),
      service("web", { tier: "web" }, { nodePort }),
    );
    await suite.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=300s");
  });
  after(() => suite?.[Symbol.asyncDispose]());

  const podOf = async (name: string) => JSON.parse(await suite.kubectl("get", "pod", name, "-o", "json")) as PodLike;
  const clusterIp = (name: string) => suite.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}");
  /** One of each family. */
  const clusterUrls = async (name: string) => {
    const ips = (await suite.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIPs[*]}")).split(" ");
    assert.deepEqual(ips.map(isIP), [4, 6]);
    return ips.map((ip) => `http://${isIP(ip) === 6 ? `[${ip}]` : ip}/`);
  };
  const fromPod = (pod: string) => (url: string) => suite.fetch({ pod }, url);
  const fromNode = (node: string) => (url: string) => suite.fetch({ node }, url);
  const fromOutside = (url: string) => suite.fetch("outside", url);
  /** Everybody who asks, by name. */
  const clients: readonly (readonly [string, (url: string) => Promise<string>])[] = nodes.flatMap((node) => [
    [`a Pod on ${node}`, (url: string) => fromPod(`client-${node}`)(url)] as const,
    [node, (url: string) => fromNode(node)(url)] as const,
  ]);
  /** kube-proxy needs a moment for its rules. */
  const answers = (who: string, ask: (url: string) => Promise<string>, url: string, name: RegExp) =>
    until(
      `${name.source} answers ${who} at ${url}`,
      async () => {
        const answer = await ask(url).catch((error: Error) => error.message);
        return name.test(answer.trim()) ? true : undefined;
      },
      120,
    );
  const everybody = (url: string, name: RegExp) =>
    Promise.all(clients.map(([who, ask]) => answers(who, ask, url, name)));

  it("programs listen where the values say, and nowhere else; their probes, webhooks and metrics answer there", async () => {
    const labels = "app.kubernetes.io/component=spiderpool-controller";
    const [controller] = await suite.list<PodLike>("pods", { namespace: "kube-system", labels });
    const { spec, status } = controller ?? assert.fail();
    const listening = async (node: string) => {
      const said = await suite.onNode(node, "ss -Hltn 'sport >= :5710 and sport <= :5724' | awk '{ print $4 }'");
      return said.trim().split("\n").sort();
    };
    for (const node of nodes) {
      const own = ["127.0.0.1:5710", "127.0.0.2:5711", "[::1]:5710"];
      const its = [`${status.podIP}:5720`, "127.0.0.2:5721", `${status.podIP}:5722`];
      assert.deepEqual(await listening(node), [...own, ...(node === spec.nodeName ? its : [])].sort());
      assert.match(await suite.fetch({ node }, "http://127.0.0.2:5711/metrics"), /^spiderpool_/m);
    }
    assert.match(await suite.fetch({ node: spec.nodeName }, "http://127.0.0.2:5721/metrics"), /^spiderpool_/m);
  });

  it("kubelet's probes reach the Pods: each is Ready, and taken out of its Service when it is not", async () => {
    const endpoints = async (name: string) =>
      (await suite.kubectl("get", "endpoints", name, "-o", "jsonpath={.subsets[*].addresses[*].ip}")).split(" ");
    const ips = await Promise.all(nodes.map(async (node) => (await podOf(`web-${node}`)).status.podIP));
    assert.deepEqual((await endpoints("web")).sort(), [...ips].sort());
    await suite.kubectl("exec", "web-node1", "--", "mv", "/tmp/www/index.html", "/tmp/www/away");
    await suite.kubectl("wait", "pod/web-node1", "--for=condition=Ready=False", "--timeout=300s");
    await until("one endpoint is left", async () => ((await endpoints("web")).join() === ips[1] ? true : undefined));
    await suite.kubectl("exec", "web-node1", "--", "mv", "/tmp/www/away", "/tmp/www/index.html");
    await suite.kubectl("wait", "pod/web-node1", "--for=condition=Ready", "--timeout=300s");
    const restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert.match(await suite.kubectl("get", "pods", "-o", restarts), /^0( 0)*$/, "no liveness probe failed");
  });

  it("each Pod answers Pods and hosts of both nodes at its own address", async () => {
    for (const node of nodes) {
      const { status } = await podOf(`web-${node}`);
      for (const { ip } of status.podIPs)
        await everybody(`http://${isIP(ip) === 6 ? `[${ip}]` : ip}/`, new RegExp(`^web-${node}$`));
    }
  });

  it("Pods reach hosts, the API server's Service, and send packets of the whole MTU across", async () => {
    const { status } = await podOf("web-node2");
    for (const node of nodes) {
      const inPod = (...argv: readonly string[]) => suite.kubectl("exec", `client-${node}`, "--", ...argv);
      for (const index of [0, 1]) await inPod("ping", "-c", "1", "-i", "0.2", "-w", "60", nodePlan(index).ip);
      await inPod("ping", "-c", "1", "-i", "0.2", "-w", "60", "-s", "1472", status.podIP);
      await inPod("nc", "-w", "60", await clusterIp("kubernetes"), "443", "-e", "true");
    }
  });

  for (const mode of modes) {
    describe(`with kube-proxy in mode ${mode}`, () => {
      before(async () => {
        const edit = `sed -i 's/"mode":"[a-z]*"/"mode":"${mode}"/' /var/lib/kube-proxy/config.json`;
        for (const node of nodes) {
          await suite.onNode(node, edit);
          await suite.cluster.kill({ node, program: "kube-proxy", signal: "SIGKILL" });
        }
      });

      it("runs in that mode", async () => {
        for (const node of nodes)
          await until(`${mode} on ${node}`, async () => {
            const said = await suite.onNode(node, "curl -s http://127.0.0.1:10249/proxyMode || true");
            return said === mode ? true : undefined;
          });
      });

      for (const node of nodes) {
        it(`a Pod on ${node} answers Pods and hosts of both nodes through its Service`, async () => {
          for (const url of await clusterUrls(`only-${node}`)) await everybody(url, new RegExp(`^web-${node}$`));
        });
        it(`a Pod on ${node} answers itself through its Service`, async () => {
          for (const url of await clusterUrls(`only-${node}`))
            await answers("itself", fromPod(`web-${node}`), url, new RegExp(`^web-${node}$`));
        });
      }

      it("a NodePort of each node answers Pods, hosts and the world outside, from both Pods behind it", async () => {
        for (const [index, node] of nodes.entries()) {
          const { ip, ip6, managementIp } = nodePlan(index);
          for (const host of [ip, `[${ip6}]`]) await everybody(`http://${host}:${nodePort}/`, /^web-node[12]$/);
          // The gateway of the Pods' network has no route to the nodes' other network: only the Pods' own node leads there.
          const url = `http://${managementIp}:${nodePort}/`;
          for (const behind of nodes) {
            const name = new RegExp(`^web-${behind}$`);
            await answers("the world outside", fromOutside, url, name);
            await answers(`a Pod on ${node}`, fromPod(`client-${node}`), url, name);
          }
        }
      });
    });
  }
});
