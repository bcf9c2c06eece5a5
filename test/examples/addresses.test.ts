import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Stage } from "../../lab/scenarios/stage.ts";
import { startStage } from "../stage.ts";

const examples = fileURLToPath(new URL("../../examples/ipam", import.meta.url));
const guides = fileURLToPath(new URL("../../docs/guides", import.meta.url));
const files = readdirSync(examples);

interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIP: string };
}

/** The examples of the guides about addresses, applied together as they stand. */
describe("the examples of examples/ipam", { timeout: 240_000 }, () => {
  let stage: Stage;
  before(async () => {
    stage = await startStage({ nodes: 2, apply: ["network"] });
    await stage.kubectl("apply", "-f", examples);
    const deployments = ["backup-app", "rack-app", "office-app"].map((name) => `deployment/${name}`);
    await stage.kubectl("wait", ...deployments, "--for=condition=Available", "--timeout=120s");
    await stage.kubectl("wait", "deployment/team-app", "-n", "team-a", "--for=condition=Available", "--timeout=120s");
    await ready("two-nics", "dual-stack", "routed");
    assert.deepEqual(stage.failures, []);
  });
  after(() => stage.lab.stop());

  const output = async (...argv: readonly string[]): Promise<string> => {
    const { ok, stdout, stderr } = await stage.quiet(...argv);
    assert.ok(ok, stderr);
    return stdout;
  };
  const ready = async (...names: readonly string[]) =>
    void (await output("wait", ...names.map((name) => `pod/${name}`), "--for=condition=Ready", "--timeout=120s"));
  const podsOf = async (app: string, namespace = "default"): Promise<readonly Pod[]> =>
    JSON.parse(await output("get", "pods", "-n", namespace, "-l", `app=${app}`, "-o", "json")).items;
  const addressesOf = async (app: string, namespace?: string) =>
    (await podsOf(app, namespace)).map(({ status }) => status.podIP).sort();

  it("have a guide each, which links it", () => {
    const pages = readdirSync(guides).map((name) => readFileSync(`${guides}/${name}`, "utf8"));
    for (const file of files) {
      assert.equal(pages.filter((text) => text.includes(`../examples/ipam/${file})`)).length, 1, file);
    }
  });

  it("namespace: its Pods draw from its pool without naming it, others may not", async () => {
    const addresses = await addressesOf("team-app", "team-a");
    assert.equal(addresses.length, 2);
    for (const ip of addresses) assert.match(ip, /^172\.18\.61\.\d+$/);
    const template = JSON.parse(await output("get", "pod", "routed", "-o", "json"));
    const { annotations } = template.metadata;
    const thief = {
      apiVersion: "v1",
      kind: "Pod",
      spec: { ...template.spec, nodeName: "node1" },
      metadata: {
        name: "thief",
        annotations: {
          "v1.multus-cni.io/default-network": annotations["v1.multus-cni.io/default-network"],
          "ipam.spidernet.io/ippool": '{"ipv4":["team-a"]}',
        },
      },
    };
    assert.equal((await stage.input(JSON.stringify(thief), "apply", "-f", "-")).stderr, "");
    const told = ["get", "events", "--field-selector=involvedObject.name=thief", "-o", "jsonpath={.items[*].message}"];
    const signal = AbortSignal.timeout(120_000);
    while (
      !(await output(...told)).includes("unmatched Namespace name of IPPool team-a: expected team-a, found default")
    )
      signal.throwIfAborted();
    await output("delete", "pod", "thief", "--wait=false");
  });

  it("backup: the second pool is used when the first one is full", async () => {
    assert.deepEqual(await addressesOf("backup-app"), ["172.18.62.1", "172.18.62.101"]);
  });

  it("nodes: each node draws from its own pool", async () => {
    const found = (await podsOf("rack-app")).map(({ spec, status }) => [spec.nodeName, status.podIP]);
    assert.deepEqual(Object.fromEntries(found), { node1: "172.18.63.1", node2: "172.18.63.101" });
  });

  it("reserved: neither reserved nor excluded addresses are handed out", async () => {
    assert.deepEqual(await addressesOf("office-app"), ["172.18.64.4"]);
  });

  it("nics: each NIC draws from its own pool", async () => {
    const status = JSON.parse(await output("get", "spiderendpoint", "two-nics", "-o", "json")).status.current;
    assert.deepEqual(
      status.ips.map((nic: Readonly<Record<string, string>>) => [nic["interface"], nic["ipv4Pool"], nic["ipv4"]]),
      [
        ["eth0", "users", "172.18.66.1/16"],
        ["net1", "storage", "172.18.66.101/16"],
      ],
    );
  });

  it("dual-stack: the Pod has an address of each family", async () => {
    const ips = await output("get", "pod", "dual-stack", "-o", "jsonpath={.status.podIPs[*].ip}");
    assert.equal(ips, "172.18.67.1 fd00:172:18::67:1");
  });

  it("routes: the Pod has those of its pool and its own", async () => {
    const routes = await output("exec", "routed", "--", "ip", "route");
    for (const route of ["default via 172.18.0.1", "10.20.0.0/16 via 172.18.0.2", "10.30.0.0/16 via 172.18.0.3"]) {
      assert.ok(routes.includes(`${route} dev eth0`), routes);
    }
  });

  /** Resolves when both Pods of the StatefulSet run; their addresses by name. */
  const settled = async () => {
    await output("wait", "statefulset/db", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=120s");
    await output("rollout", "status", "statefulset/db", "--timeout=120s");
    return Object.fromEntries((await podsOf("db")).map(({ metadata, status }) => [metadata.name, status.podIP]));
  };
  const uidOfFirst = async () => (await stage.quiet("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}")).stdout;
  const replaceFirst = async () => {
    const former = await uidOfFirst();
    // kubectl's own wait is for an absence, which it may miss: the next Pod of the name comes at once.
    await output("delete", "pod", "db-0", "--wait=false");
    const signal = AbortSignal.timeout(120_000);
    while (["", former].includes(await uidOfFirst())) signal.throwIfAborted();
    await ready("db-0");
  };

  it("sticky: the next Pod of the name has the address, on another node, too", async () => {
    const nodeOf = async (name: string) => await output("get", "pod", name, "-o", "jsonpath={.spec.nodeName}");
    const before = await settled();
    assert.deepEqual(Object.values(before).sort(), ["172.18.65.1", "172.18.65.2"]);
    const former = await nodeOf("db-0");
    await output("cordon", former);
    await replaceFirst();
    await output("uncordon", former);
    assert.deepEqual(await settled(), before);
    assert.notEqual(await nodeOf("db-0"), former);
  });

  it("sticky: a StatefulSet that is deleted without its Pods and made again finds them and their addresses", async () => {
    const [before, first] = [await settled(), await uidOfFirst()];
    await output("delete", "statefulset", "db", "--cascade=orphan");
    await output("apply", "-f", `${examples}/sticky.yaml`);
    assert.deepEqual(await settled(), before);
    assert.equal(await uidOfFirst(), first);
    await replaceFirst();
    assert.deepEqual(await settled(), before);
  });

  it("sticky: a Pod finds its address though somebody deleted all SpiderEndpoints", async () => {
    const before = await settled();
    await output("delete", "spiderendpoints", "--all");
    await replaceFirst();
    assert.deepEqual(await settled(), before);
  });

  it("sticky: the address of an ordinal that is scaled away is free", async () => {
    await output("scale", "statefulset", "db", "--replicas=1");
    await output("wait", "pod/db-1", "--for=delete", "--timeout=120s");
    const kept = ["get", "sia", "-l", "pool=databases", "-o", "name"];
    const signal = AbortSignal.timeout(120_000);
    while ((await output(...kept)).trim().split("\n").length > 1) signal.throwIfAborted();
  });
});
