import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pods } from "#kube";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const finding = {
  id: "mtu",
  on: "node1",
  severity: "error",
  found: "the uplink is too small",
  fix: ["true", "echo b"],
};
const span = { stage: "claim", of: "eth0", startMs: 1, endMs: 3.5, failed: true };
const flight = {
  verb: "ADD",
  executable: "multus",
  network: "n",
  containerId: "0123456789abcdef",
  ifName: "eth0",
  pod: "default/web-0",
  startedAt: "2026-01-01T00:00:00.000Z",
  totalMs: 12,
  error: "no address",
  spans: [span],
};

describe("commands about this node", () => {
  let folder: string;
  let server: Server;
  let answers: Readonly<Record<string, readonly [number, unknown]>>;
  let socket: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ctl-node-"));
    socket = join(folder, "agent.sock");
    server = createServer((request, response) => {
      const [status, body] = answers[request.url ?? ""] ?? [404, "unknown path"];
      response.writeHead(status).end(body === undefined ? "" : JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
  });
  after(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  });
  const run = (...argv: readonly string[]) => runCtl(new FakeApi(), argv);
  const own = { "/v1/status": [200, { node: "node1", version: "1.2.3" }] } as const;

  it("trace shows a Pod's calls with the stages and the error", async () => {
    answers = { "/v1/flights?pod=default%2Fweb-0": [200, [flight]] };
    const { out, status } = await run("trace", "web-0", "--socket", socket);
    assert.equal(status, 0);
    assert.equal(
      out,
      [
        "2026-01-01T00:00:00.000Z  ADD n eth0 of 0123456789ab: 12.0 ms",
        "  claim   eth0   at 1.0 ms   2.5 ms   failed",
        "  error: no address",
        "",
      ].join("\n"),
    );
  });

  it("trace shows the last calls of a Pod that is tried again and again, and all of them on request", async () => {
    answers = { "/v1/flights?pod=default%2Fweb-0": [200, Array(6).fill(flight)] };
    const { out } = await run("trace", "web-0", "--socket", socket);
    assert.ok(out.startsWith("2 earlier calls: --all shows them\n\n2026-01-01"), out);
    assert.equal(out.match(/error: no address/g)?.length, 4);
    const { out: all } = await run("trace", "web-0", "--all", "--socket", socket);
    assert.equal(all.match(/error: no address/g)?.length, 6);
  });

  it("trace says that the agent knows no call of the Pod", async () => {
    answers = { "/v1/flights?pod=a%2Fb": [200, []] };
    const { err, status } = await run("trace", "a/b", "--socket", socket);
    assert.deepEqual([status, err], [1, "The agent of this node has no call of Pod a/b among its last ones.\n"]);
  });

  it("node status --local tells of an agent that serves, and of one that waits for the API server", async () => {
    const serves = { "/v1/ipam/healthy": [200, undefined], "/v1/doctor": [200, []] } as const;
    answers = { ...own, ...serves, "/v1/flights": [200, [flight]] };
    const well = await run("node", "status", "--local", "--socket", socket);
    assert.equal(well.status, 0);
    assert.match(
      well.out,
      /^Node +node1\nVersion +1\.2\.3\nController +there is no Pod of it\nAgent +serves\nLast calls +1, 1 failed\nLast error +no address\nDoctor +nothing found\n$/,
    );
    const yaml = await run("node", "status", "--local", "--socket", socket, "-o", "yaml");
    assert.match(yaml.out, /^node: node1\nversion: 1\.2\.3\n(?:.*\n)+serving: true\n/);
    const named = await run("node", "status", "--local", "--socket", socket, "-o", "name");
    assert.deepEqual([named.status, named.out], [2, ""], named.err);
    answers = { ...own, "/v1/flights": [200, []], "/v1/ipam/healthy": [500, "it waits for the first answers"] };
    const waits = await run("node", "status", "--local", "--socket", socket);
    assert.equal(waits.status, 1);
    assert.match(waits.out, /does not serve: .*it waits for the first answers/);
  });

  it("node status --local compares the agent's version with the controllers', if the cluster answers", async () => {
    const serves = { "/v1/ipam/healthy": [200, undefined], "/v1/doctor": [200, []] } as const;
    answers = { ...own, ...serves, "/v1/flights": [200, []] };
    const api = new FakeApi();
    const pod = (component: string, version: string, nodeName: string, namespace = "kube-system") =>
      api.apply(pods, {
        metadata: {
          namespace,
          name: `${component}-${nodeName}`,
          labels: { "spiderpool.spidernet.io/program": component },
        },
        spec: { nodeName, containers: [{ name: "main", image: `registry:5000/image:${version}` }] },
      });
    const ask = async () => {
      const { out, status } = await runCtl(api, ["node", "status", "--local", "--socket", socket]);
      return [status, /^Controller +(.*)$/m.exec(out)?.[1]];
    };
    pod("agent", "v1", "node1");
    pod("agent", "v0", "node2");
    pod("controller", "v1", "node2");
    pod("controller", "v0", "node2", "another-release");
    assert.deepEqual(await ask(), [0, "image v1, as the agent"]);
    pod("controller", "v2", "node2");
    assert.deepEqual(await ask(), [1, "image v2, the agent's is v1: they should be the same"]);
    api.faults = () => ({ kind: "status", status: 403, reason: "Forbidden" });
    const [status, said] = await ask();
    assert.deepEqual([status, /^not known: .*Forbidden/.test(String(said))], [0, true], String(said));
  });

  it("net show draws a packet's way with a tick or a cross for each station", async () => {
    const hops = [
      { name: "eth0", ok: true, detail: "up, MTU 1500" },
      { name: "its node", ok: undefined, detail: "nobody knows", aside: true },
      { name: "gateway 10.6.0.1", ok: false, detail: "silent" },
    ];
    const addresses = [{ address: "10.6.0.9/16", pool: "p", gateway: "10.6.0.1" }];
    const routes = ["default via 10.6.0.1 dev eth0 table main"];
    answers = {
      "/v1/net?pod=default%2Fweb-0": [200, [{ ifName: "eth0", network: "n", addresses, hops, routes, rules: [] }]],
    };
    const drawn = await run("net", "show", "web-0", "--draw", "--socket", socket);
    assert.equal(drawn.status, 1);
    assert.equal(
      drawn.out,
      "eth0 (n)\n  ✔ eth0  up, MTU 1500\n  ├─ ? its node  nobody knows\n  │\n  ✘ gateway 10.6.0.1  silent\n",
    );
    const listed = await run("net", "show", "web-0", "--socket", socket);
    assert.match(
      listed.out,
      /address 10\.6\.0\.9\/16 of p, gateway 10\.6\.0\.1\n.*\n {2}\? {3}its node: .*\n {2}BAD gateway .*\n {2}route default/,
    );
  });

  it("doctor --local prints the agent's findings with their fixes", async () => {
    answers = { "/v1/doctor": [200, [finding]] };
    const { out, status } = await run("doctor", "--local", "--socket", socket);
    assert.equal(status, 1);
    assert.match(
      out,
      /^ID +RUNS ON +SEVERITY +FINDING +FIX\nmtu +node1 +error +the uplink is too small +true && echo b\n$/,
    );
  });

  it("doctor refuses options that would have no effect", async () => {
    const { err, status } = await run("doctor", "--local", "--bridge", "br1", "--cni-bin-dir", "/x");
    assert.deepEqual([status, err.split(":")[1]], [2, " --bridge, --cni-bin-dir"], err);
  });

  it("says what an agent that refuses says", async () => {
    answers = { "/v1/flights?pod=a%2Fb": [400, "query pod=b is no namespace/name"] };
    const { err, status } = await run("trace", "a/b", "--socket", socket);
    assert.equal(status, 1);
    assert.match(err, /the agent answered 400 to \/v1\/flights\?pod=a%2Fb: query pod=b is no namespace\/name/);
  });

  it("refuses -o name, as calls and NICs have none", async () => {
    for (const command of [["trace"], ["net", "show"]]) {
      const { err, status } = await run(...command, "a/b", "-o", "name", "--socket", socket);
      assert.deepEqual([status, err], [2, "error: -o name: this has no name; allowed are table, wide, json, yaml\n"]);
    }
  });

  it("where no agent answers, says on which socket", async () => {
    const { err, status } = await run("trace", "a/b", "--socket", join(folder, "none.sock"));
    assert.equal(status, 2);
    assert.match(err, /no agent answers on .*none\.sock \(there is no such socket\); run this on a node/);
  });
});

describe("spiderpoolctl net render", () => {
  const manifest = (spec: string) =>
    `apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderMultusConfig\nmetadata: {name: br1}\nspec: ${spec}\n`;

  it("prints the network that the controller would make", async () => {
    const files = { "a.yaml": manifest("{cniType: ovs, ovs: {bridge: br1}}") };
    const { out, status } = await runCtl(new FakeApi(), ["net", "render", "-f", "a.yaml", "-o", "json"], files);
    assert.equal(status, 0);
    const network = JSON.parse(out);
    assert.deepEqual([network.kind, network.metadata.name], ["NetworkAttachmentDefinition", "br1"]);
    assert.equal(JSON.parse(network.spec.config).plugins[0].bridge, "br1");
    assert.equal(
      (await runCtl(new FakeApi(), ["net", "render", "-f", "a.yaml", "-o", "name"], files)).out,
      "networkattachmentdefinition.k8s.cni.cncf.io/br1\n",
    );
  });

  it("says what admission would refuse", async () => {
    const files = { "a.yaml": manifest("{cniType: ovs}") };
    const { err, status } = await runCtl(new FakeApi(), ["net", "render", "-f", "a.yaml"], files);
    assert.equal(status, 1);
    assert.match(err, /^br1: spec\.ovs/);
  });

  it("prints the warnings of admission, and the network all the same", async () => {
    const files = { "a.yaml": manifest("{cniType: ovs, ovs: {bridge: br1}, disableIPAM: true}") };
    const { err, out, status } = await runCtl(new FakeApi(), ["net", "render", "-f", "a.yaml"], files);
    assert.equal(status, 0);
    assert.match(err, /^Warning: br1: spec\.disableIPAM: the coordinator fails on a NIC without an address/);
    assert.match(out, /kind: NetworkAttachmentDefinition/);
  });
});
