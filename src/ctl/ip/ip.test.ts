import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, type SpiderIPAddress, type SpiderIPAddressSpec, spiderIPAddresses } from "#api";
import { configMaps, nodes, pods, statefulSets } from "#kube";
import { virtualMachines } from "#ledger";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const spec: SpiderIPAddressSpec = {
  format: 1,
  address: "172.18.30.131",
  purpose: "Pod",
  pool: "ippool-test",
  poolUID: "pool-1",
  poolGeneration: 1,
  node: "node1",
  podNamespace: "default",
  podName: "web-0",
  podUID: "uid-1",
  nic: "eth0",
  containerID: "0123456789abcdef",
  since: new Date(Date.now() - 3_600_000 * 5).toISOString(),
};

function claimed(...specs: readonly Partial<SpiderIPAddressSpec>[]): FakeApi {
  const api = new FakeApi();
  for (const part of specs) {
    const whole = { ...spec, ...part };
    const labels = { pool: whole.pool, node: whole.node ?? "" };
    api.apply(spiderIPAddresses, { metadata: { name: whole.address.replaceAll(":", "-"), labels }, spec: whole });
  }
  return api;
}

describe("spiderpoolctl ip show", () => {
  it("lists claims by address, in kubectl's columns", async () => {
    const { out, status } = await runCtl(claimed({ address: "172.18.30.140", podName: "web-1" }, {}), ["ip", "show"]);
    assert.equal(status, 0);
    assert.equal(
      out,
      [
        "ADDRESS         PURPOSE   POOL          HELD BY         NIC    NODE    AGE",
        "172.18.30.131   Pod       ippool-test   default/web-0   eth0   node1   5h",
        "172.18.30.140   Pod       ippool-test   default/web-1   eth0   node1   5h",
        "",
      ].join("\n"),
    );
  });

  it("selects by address, pool, node and Pod", async () => {
    const api = claimed({}, { address: "172.18.30.132", pool: "other", node: "node2", podName: "db" });
    const shown = async (...flags: string[]) => (await runCtl(api, ["ip", "show", "-o", "name", ...flags])).out;
    const [first, second] = ["172.18.30.131", "172.18.30.132"].map(
      (name) => `spideripaddress.spiderpool.spidernet.io/${name}\n`,
    );
    assert.equal(await shown("172.18.30.131"), first);
    assert.equal(await shown("--ip", "172.18.30.132"), second);
    assert.equal(await shown("--pool", "ippool-test"), first);
    assert.equal(await shown("--node", "node2"), second);
    assert.equal(await shown("--pod", "db"), second);
    assert.equal(await shown("--pod", "other/db"), "");
  });

  it("says who answers for an address in quarantine, not which Pod met that host", async () => {
    const purpose = "Quarantine";
    const met = { purpose, mac: "02:00:00:00:00:01", reason: "another host answers for it" } as const;
    const given = { purpose, address: "172.18.30.132", reason: "given back as in use" } as const;
    const { out } = await runCtl(claimed({ ...met, node: "" }, { ...given, node: "" }), ["ip", "show"]);
    assert.match(out, /172\.18\.30\.131 +Quarantine +ippool-test +another host, 02:00:00:00:00:01 +eth0/);
    assert.match(out, /172\.18\.30\.132 +Quarantine +ippool-test +given back as in use +eth0/);
  });

  it("says that an address is free, and that it is no address", async () => {
    const free = await runCtl(claimed({}), ["ip", "show", "172.18.30.9"]);
    assert.deepEqual([free.status, free.err], [1, "172.18.30.9 is not claimed: no Pod holds it\n"]);
    const wrong = await runCtl(claimed({}), ["ip", "show", "172.18.30"]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.err, /^error: "172\.18\.30" is no IP address/);
  });

  it("names what it looked for where nothing is found, and refuses what names no Pod", async () => {
    const api = claimed({});
    api.apply(nodes, { metadata: { name: "n9" } });
    const none = await runCtl(api, ["-n", "prod", "ip", "show", "--pod", "db", "--node", "n9"]);
    assert.deepEqual([none.status, none.err], [0, "No addresses are in use of Pod prod/db, on node n9.\n"]);
    const misspelt = await runCtl(api, ["ip", "show", "--pool", "ippol", "-o", "json"]);
    assert.deepEqual([misspelt.status, misspelt.err], [1, "There is no IPPool ippol.\n"]);
    for (const text of ["a/b/c", "/x", "x/", ""]) {
      const { status, err } = await runCtl(claimed({}), ["ip", "show", "--pod", text]);
      assert.deepEqual([status, err], [2, `error: "${text}" names no Pod: the form is [namespace/]name\n`]);
    }
  });

  it("writes nothing that a terminal would obey, whatever an object holds", async () => {
    const { out } = await runCtl(claimed({ podName: "\u001b]0;owned\u0007\u202e" }), ["ip", "show"]);
    assert.match(out, /default\/\\u001b\]0;owned\\u0007\\u202e {3}eth0/);
    const json = await runCtl(claimed({ podName: "\u009b2J" }), ["ip", "show", "-o", "json"]);
    assert.equal(JSON.parse(json.out).items[0].podName, "\u009b2J");
  });

  it("ends with 2 where the user has no right to look, in the API server's words", async () => {
    const api = claimed({});
    api.fail(() => true, { kind: "status", status: 403, reason: "Forbidden" });
    const { status, err } = await runCtl(api, ["ip", "show"]);
    assert.deepEqual([status, err], [2, "error: cannot list spideripaddresses: injected Forbidden\n"]);
  });

  it("refuses an output format that it does not know, naming those that it does", async () => {
    const { status, err } = await runCtl(claimed(), ["ip", "show", "-o", "xml"]);
    assert.equal(status, 2);
    assert.match(err, /-o xml: unknown output format; allowed are table, wide, json, yaml, name/);
  });
});

describe("spiderpoolctl ip release", () => {
  const marked = (api: FakeApi) =>
    (api.read(spiderIPAddresses, { name: "172.18.30.131" }) as SpiderIPAddress | undefined)?.metadata.annotations?.[
      annotations.forceRelease
    ];

  it("marks the claim of a Pod that is gone, by the claim's UID", async () => {
    const api = claimed({});
    const { status, out } = await runCtl(api, ["ip", "release", "172.18.30.131"]);
    assert.equal(status, 0);
    assert.match(out, /^172\.18\.30\.131 marked for release \(default\/web-0 is gone\)/);
    assert.equal(marked(api), api.read(spiderIPAddresses, { name: "172.18.30.131" })?.metadata.uid);
  });

  it("leaves the address of a living Pod alone unless forced", async () => {
    const api = claimed();
    const pod = api.apply(pods, { metadata: { namespace: "default", name: "web-0" } });
    api.apply(spiderIPAddresses, { metadata: { name: spec.address }, spec: { ...spec, podUID: pod.metadata.uid } });
    const refused = await runCtl(api, ["ip", "release", "--ip", "172.18.30.131"]);
    assert.equal(refused.status, 1);
    assert.match(refused.err, /Pod default\/web-0 exists; delete the Pod, or use --force/);
    assert.equal(marked(api), undefined);
    assert.equal((await runCtl(api, ["ip", "release", "--ip", "172.18.30.131", "--force"])).status, 0);
    assert.notEqual(marked(api), undefined);
  });

  it("tells programs and shells what became of it", async () => {
    const ask = (...more: string[]) => runCtl(claimed({}), ["ip", "release", "172.18.30.131", ...more]);
    assert.deepEqual(JSON.parse((await ask("-o", "json", "--dry-run")).out), {
      items: [{ address: "172.18.30.131", outcome: "wouldBeMarked", reason: "default/web-0 is gone" }],
    });
    assert.equal((await ask("-o", "name")).out, "spideripaddress.spiderpool.spidernet.io/172.18.30.131\n");
  });

  it("releases what a former Pod of the same name held", async () => {
    const api = claimed({});
    api.apply(pods, { metadata: { namespace: "default", name: "web-0" } });
    assert.equal((await runCtl(api, ["ip", "release", "172.18.30.131"])).status, 0);
  });

  it("releases what is kept for a StatefulSet only when that wants it no more", async () => {
    const api = claimed({});
    const { node: _, containerID: __, ...detached } = spec;
    const kept = { ...detached, purpose: "Sticky", podName: "db-1", owner: "apps/v1/StatefulSet/default/db" } as const;
    const claim = (more: object = {}) =>
      api.apply(spiderIPAddresses, { metadata: { name: spec.address }, spec: { ...kept, ...more } });
    const release = () => runCtl(api, ["ip", "release", spec.address, "--dry-run"]);
    claim();
    api.apply(statefulSets, { metadata: { namespace: "default", name: "db" }, spec: { replicas: 2 } });
    assert.match(
      (await release()).err,
      /it is kept for apps\/v1\/StatefulSet\/default\/db; when that wants it no more/,
    );
    api.apply(statefulSets, { metadata: { namespace: "default", name: "db" }, spec: { replicas: 1 } });
    assert.match((await release()).out, /would be released/);
    api.remove(statefulSets, { namespace: "default", name: "db" });
    assert.match((await release()).out, /would be released/);
    claim({ unclean: true });
    assert.match((await release()).err, /does not exist, but nobody saw the last sandbox end/);
  });

  it("asks KubeVirt and the settings of the release, as the collector does", async () => {
    const api = claimed({});
    const { node: _, containerID: __, ...detached } = spec;
    const owner = "kubevirt.io/v1/VirtualMachineInstance/default/vm1";
    const kept = { ...detached, purpose: "Sticky", podName: "virt-launcher-vm1-a", owner } as const;
    api.apply(spiderIPAddresses, { metadata: { name: spec.address }, spec: kept });
    const release = () => runCtl(api, ["ip", "release", spec.address, "--dry-run"]);
    assert.match((await release()).out, /would be released/);
    api.apply(virtualMachines, { metadata: { namespace: "default", name: "vm1" } });
    assert.match((await release()).err, /it is kept for kubevirt\.io\/v1\/VirtualMachineInstance\/default\/vm1; when/);
    const labels = { "app.kubernetes.io/component": "spiderpool" };
    const data = { "conf.yml": "enableKubevirtStaticIP: false" };
    api.apply(configMaps, { metadata: { namespace: "kube-system", name: "spiderpool-conf", labels }, data });
    assert.match((await release()).out, /would be released/);
  });

  it("does not trust a node that does not answer", async () => {
    const api = claimed({});
    api.apply(nodes, { metadata: { name: "node1" }, status: { conditions: [{ type: "Ready", status: "Unknown" }] } });
    const { status, err } = await runCtl(api, ["ip", "release", "172.18.30.131"]);
    assert.equal(status, 1);
    assert.match(err, /node node1 does not answer/);
  });

  it("leaves the address of a Pod that was deleted by force to its node, which may still run the sandbox", async () => {
    const api = claimed({});
    api.apply(nodes, { metadata: { name: "node1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
    const { status, err } = await runCtl(api, ["ip", "release", "172.18.30.131"]);
    assert.equal(status, 1);
    assert.match(
      err,
      /node node1 may still have the Pod's sandbox, and its agent releases the address when that has ended; wait/,
    );
    assert.equal(marked(api), undefined);
    assert.equal((await runCtl(api, ["ip", "release", "172.18.30.131", "--force"])).status, 0);
  });

  it("knows a static Pod, whose claim has the UID that its node gave it, by its mirror", async () => {
    const api = claimed({});
    const mirror = { "kubernetes.io/config.hash": "uid-1", "kubernetes.io/config.mirror": "uid-1" };
    api.apply(pods, { metadata: { namespace: "default", name: "web-0", annotations: mirror } });
    const { err } = await runCtl(api, ["ip", "release", "172.18.30.131"]);
    assert.match(err, /Pod default\/web-0 exists/);
    assert.equal(marked(api), undefined);
  });

  it("changes nothing on a dry run", async () => {
    const api = claimed({});
    const { out } = await runCtl(api, ["ip", "release", "172.18.30.131", "--dry-run"]);
    assert.match(out, /would be released/);
    assert.equal(marked(api), undefined);
  });
});
