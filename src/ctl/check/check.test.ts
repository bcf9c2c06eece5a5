import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { annotations, type SpiderIPAddressSpec, spiderEndpoints, spiderIPAddresses, spiderIPPools } from "#api";
import { events, pods, statefulSets } from "#kube";
import { virtualMachines } from "#ledger";
import { FakeApi } from "../../kube/testing/fake-api.ts";
import { runCtl } from "../testing/run.ts";

const address = "172.18.30.131";

/** One Pod with one address, and all sources agree. */
function healthy() {
  const api = new FakeApi();
  const pool = api.apply(spiderIPPools, {
    metadata: { name: "p" },
    spec: { subnet: "172.18.30.0/24", ips: ["172.18.30.131-172.18.30.140"] },
  });
  const count = (allocatedIPCount: number) => api.apply(spiderIPPools, { ...pool, status: { allocatedIPCount } });
  count(1);
  const makePod = () =>
    api.apply(pods, { metadata: { namespace: "default", name: "web-0" }, status: { phase: "Running" } });
  const pod = makePod();
  const spec: SpiderIPAddressSpec = {
    format: 1,
    address,
    purpose: "Pod",
    pool: "p",
    poolUID: pool.metadata.uid,
    poolGeneration: 1,
    podNamespace: "default",
    podName: "web-0",
    podUID: pod.metadata.uid,
    nic: "eth0",
    since: "2026-01-01T00:00:00Z",
  };
  const claim = () => api.apply(spiderIPAddresses, { metadata: { name: address }, spec });
  claim();
  const endpoint = (uid: string) =>
    api.apply(spiderEndpoints, {
      metadata: { namespace: "default", name: "web-0" },
      status: {
        current: { uid, node: "node1", ips: [{ interface: "eth0", ipv4: `${address}/24`, ipv4Pool: "p" }] },
        ownerControllerType: "Pod",
        ownerControllerName: "web-0",
      },
    });
  endpoint(pod.metadata.uid);
  return { api, count, makePod, endpoint };
}

const kinds = (out: string) =>
  (JSON.parse(out) as { items: { kind: string; one: { readAt: string }; other: { readAt: string } }[] }).items;

async function found(api: FakeApi, ...flags: string[]) {
  const { out, status, err } = await runCtl(api, ["check", "-o", "json", ...flags]);
  const [first = ""] = out.split(/(?<=^\})\n/m);
  return { status, err, items: kinds(first) };
}

describe("spiderpoolctl check", { concurrency: true }, () => {
  it("finds nothing if all sources agree", async () => {
    const { status, err } = await runCtl(healthy().api, ["check"]);
    assert.deepEqual([status, err], [0, "All sources agree.\n"]);
  });

  it("finds a claim without Pod, with both facts and when each was read; --fix releases it", async () => {
    const { api } = healthy();
    api.remove(pods, { namespace: "default", name: "web-0" });
    const { status, items } = await found(api);
    assert.equal(status, 1);
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ["claim-without-pod"],
    );
    for (const fact of [items[0]?.one, items[0]?.other]) assert.ok(Number.isFinite(Date.parse(fact?.readAt ?? "")));
    assert.equal((await runCtl(api, ["check", "--fix"])).status, 0);
    const claim = api.read(spiderIPAddresses, { name: address });
    assert.equal(claim?.metadata.annotations?.[annotations.forceRelease], claim?.metadata.uid);
  });

  it("gc releases the address of a Pod that is gone, and only reports it on a dry run", async () => {
    const { api } = healthy();
    assert.equal((await runCtl(api, ["gc"])).err, "No address is held for a Pod that is gone.\n");
    api.remove(pods, { namespace: "default", name: "web-0" });
    const mark = () => api.read(spiderIPAddresses, { name: address })?.metadata.annotations?.[annotations.forceRelease];
    const dry = await runCtl(api, ["gc", "--dry-run"]);
    assert.deepEqual([dry.status, mark()], [0, undefined]);
    assert.match(dry.out, /^172\.18\.30\.131 would be released \(default\/web-0 is gone\)/);
    assert.equal((await runCtl(api, ["gc"])).status, 0);
    assert.notEqual(mark(), undefined);
  });

  it("gc releases what is kept for a StatefulSet that is gone or smaller by now, or for a machine that is gone, and nothing else that is kept", async () => {
    const { api } = healthy();
    const { spec } = api.read(spiderIPAddresses, { name: address }) as unknown as { spec: SpiderIPAddressSpec };
    const sticky = (name: string, podName: string, set: string, more: Partial<SpiderIPAddressSpec> = {}) =>
      api.apply(spiderIPAddresses, {
        metadata: { name },
        spec: {
          ...spec,
          address: name,
          purpose: "Sticky",
          podName,
          owner: `apps/v1/StatefulSet/default/${set}`,
          ...more,
        },
      });
    sticky("172.18.30.132", "db-0", "db");
    sticky("172.18.30.133", "db-1", "db");
    sticky("172.18.30.134", "old-0", "old");
    sticky("172.18.30.135", "old-1", "old", { unclean: true });
    sticky("172.18.30.136", "vm-1", "", { owner: "kubevirt.io/v1/VirtualMachineInstance/default/vm" });
    sticky("172.18.30.137", "vm-2", "", { owner: "kubevirt.io/v1/VirtualMachineInstance/default/gone" });
    api.apply(virtualMachines, { metadata: { namespace: "default", name: "vm" } });
    api.apply(statefulSets, { metadata: { namespace: "default", name: "db" }, spec: { replicas: 1 } });
    const pool = api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
    api.apply(spiderIPPools, { ...pool, status: { allocatedIPCount: 7 } });
    const { out, status } = await runCtl(api, ["gc", "--dry-run", "-o", "name"]);
    assert.equal(status, 0);
    assert.deepEqual(out.match(/172\.18\.30\.\d+/g), ["172.18.30.133", "172.18.30.134", "172.18.30.137"]);
  });

  it("finds a claim of a former Pod of the same name", async () => {
    const { api, makePod, endpoint } = healthy();
    api.remove(pods, { namespace: "default", name: "web-0" });
    endpoint(makePod().metadata.uid);
    const { items } = await found(api);
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ["wrong-uid"],
    );
  });

  it("finds a Pod without claim, and leaves it alone with --fix", async () => {
    const { api, count } = healthy();
    api.remove(spiderIPAddresses, { name: address });
    count(0);
    const { items, status } = await found(api, "--fix");
    assert.equal(status, 1);
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ["pod-without-claim"],
    );
  });

  it("finds a pool's status that differs from its claims", async () => {
    const { api, count } = healthy();
    count(7);
    const { items } = await found(api);
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ["view-differs"],
    );
  });

  it("does not report what the second look no longer sees", async () => {
    const { api, count } = healthy();
    count(7);
    let looks = 0;
    api.faults = ({ path }) => {
      // Pods are read last; between the looks the view is written.
      if (path.startsWith("/api/v1/pods") && looks++ === 0) count(1);
      return undefined;
    };
    const { status } = await runCtl(api, ["check"]);
    assert.deepEqual([status, looks], [0, 2]);
  });

  it("reports what agents have found on their nodes, as long as that is recent", async () => {
    const { api } = healthy();
    const told = (ageMs: number, object: string) => {
      const lastTimestamp = new Date(Date.now() - ageMs).toISOString();
      const read = "(read 2026-01-01T00:00:00.000Z)";
      api.apply(events, {
        metadata: { namespace: "default", name: `e-${ageMs}` },
        involvedObject: { kind: "Node", name: "n1" },
        reason: "FaultStaleHostRoute",
        message: `${object}: table 500 leads to it by eth0 ${read}, but no Pod of this node has the address ${read}`,
        lastTimestamp,
      });
    };
    told(60_000, "route 10.6.0.9/32");
    told(3_600_000, "route 10.6.0.8/32");
    const { status, out } = await runCtl(api, ["check"]);
    assert.equal(status, 1);
    assert.match(out, /^stale-host-route +n1: route 10\.6\.0\.9\/32 +table 500 leads to it by eth0 \(read 2026/m);
    assert.doesNotMatch(out, /10\.6\.0\.8/);
  });

  it("finds a Pod that runs with an address in quarantine, and not one whose ADD went on to another address", async () => {
    const { api } = healthy();
    const { spec } = api.read(spiderIPAddresses, { name: address }) as unknown as { spec: SpiderIPAddressSpec };
    const quarantine = {
      purpose: "Quarantine",
      until: "2026-01-01T00:05:00Z",
      reason: "a plugin found it in use",
    } as const;
    api.apply(spiderIPAddresses, { metadata: { name: address }, spec: { ...spec, ...quarantine } });
    api.remove(spiderEndpoints, { namespace: "default", name: "web-0" });
    const pool = api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
    api.apply(spiderIPPools, { ...pool, status: { allocatedIPCount: 0 } });
    assert.deepEqual((await runCtl(api, ["check"])).err, "All sources agree.\n");
    const pod = api.read(pods, { namespace: "default", name: "web-0" }) ?? assert.fail();
    api.apply(pods, { ...pod, status: { phase: "Running", podIPs: [{ ip: address }] } });
    const { out, status } = await runCtl(api, ["check"]);
    assert.equal(status, 1);
    assert.match(
      out,
      /^pod-without-claim +default\/web-0 +the Pod runs with 172\.18\.30\.131 .* +it is in quarantine until 2026-01-01T00:05:00Z: a plugin found it in use/m,
    );
  });

  it("finds an address that two living Pods have", async () => {
    const { api } = healthy();
    const second = api.apply(pods, { metadata: { namespace: "default", name: "web-1" }, status: { phase: "Running" } });
    const { status } = api.read(spiderEndpoints, { namespace: "default", name: "web-0" }) ?? assert.fail();
    const current = { ...status.current, uid: second.metadata.uid, node: "node2" };
    api.apply(spiderEndpoints, { metadata: { namespace: "default", name: "web-1" }, status: { ...status, current } });
    const { items } = await found(api);
    assert.deepEqual(items.map(({ kind }) => kind).toSorted(), ["one-address-twice", "pod-without-claim"]);
  });
});

describe("spiderpoolctl check --upstream", { concurrency: true }, () => {
  /** A pool as the original Spiderpool keeps it; `records` by address: Pod and UID. */
  function upstream(name: string, records: Readonly<Record<string, readonly [string, string]>>, api = new FakeApi()) {
    const entries = Object.entries(records).map(([ip, [pod, podUid]]) => [ip, { pod: `default/${pod}`, podUid }]);
    api.apply(spiderIPPools, {
      metadata: { name },
      spec: { subnet: "172.18.30.0/24", ips: ["172.18.30.131-172.18.30.140"] },
      status: { allocatedIPs: JSON.stringify(Object.fromEntries(entries)), allocatedIPCount: entries.length },
    });
    return api;
  }
  const makePod = (api: FakeApi, name: string) =>
    api.apply(pods, { metadata: { namespace: "default", name }, status: { phase: "Running" } }).metadata.uid;
  const said = async (api: FakeApi) => {
    const { out, status } = await runCtl(api, ["check", "--upstream", "-o", "json"]);
    return [status, ...kinds(out === "" ? '{"items":[]}' : out).map(({ kind }) => kind)];
  };

  it("finds nothing if records, Pods and endpoints agree, and writes nothing", async () => {
    const api = new FakeApi();
    upstream("p", { "172.18.30.131": ["a", makePod(api, "a")] }, api);
    assert.deepEqual(await said(api), [0]);
    assert.ok(api.requests.every(({ method }) => method === "GET"));
  });

  it("finds records of Pods that are gone or replaced, except those of StatefulSets, which are kept on purpose", async () => {
    const api = new FakeApi();
    makePod(api, "b");
    upstream("p", { "172.18.30.131": ["a", "u1"], "172.18.30.132": ["b", "u2"], "172.18.30.133": ["db-0", "u3"] }, api);
    api.apply(spiderEndpoints, {
      metadata: { namespace: "default", name: "db-0" },
      status: {
        current: { uid: "u3", node: "n", ips: [] },
        ownerControllerType: "StatefulSet",
        ownerControllerName: "db",
      },
    });
    assert.deepEqual(await said(api), [1, "claim-without-pod", "wrong-uid"]);
  });

  it("finds an address in two pools, and a count that differs from the records", async () => {
    const api = new FakeApi();
    const uid = makePod(api, "a");
    upstream("p", { "172.18.30.131": ["a", uid] }, api);
    upstream("q", { "172.18.30.131": ["a", uid] }, api);
    const pool = api.read(spiderIPPools, { name: "p" }) ?? assert.fail();
    api.apply(spiderIPPools, { ...pool, status: { ...pool.status, allocatedIPCount: 7 } });
    assert.deepEqual(await said(api), [1, "view-differs", "one-address-twice"]);
  });

  it("names a pool whose records it cannot read, and refuses options that would change something", async () => {
    const api = new FakeApi();
    api.apply(spiderIPPools, {
      metadata: { name: "p" },
      spec: { subnet: "10.0.0.0/8" },
      status: { allocatedIPs: "nonsense" },
    });
    const { status, err } = await runCtl(api, ["check", "--upstream"]);
    assert.equal(status, 2);
    assert.match(err, /status\.allocatedIPs of SpiderIPPool p is not what Spiderpool writes/);
    assert.equal((await runCtl(api, ["check", "--upstream", "--fix"])).status, 2);
  });
});
