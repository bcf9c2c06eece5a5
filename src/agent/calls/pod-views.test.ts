import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { annotations, spiderEndpoints } from "#api";
import { SpiderError, silentLogger, Tasks } from "#base";
import { CniError, type CniResult, cniCodes, encodeResult } from "#cni";
import { parseIp } from "#ip";
import { EventRecorder, events, pods, TopControllers } from "#kube";
import { type Claim, endpointNics, type Ledger } from "#ledger";
import { bootId, readNetnsId } from "#linux";
import { networkStatusAnnotation } from "#multus";
import type { Fault } from "../../kube/testing/fake-api.ts";
import { claimsOfNics } from "../../ledger/testing/nics.ts";
import { Endpoints } from "../addresses/endpoints.ts";
import type { AttachedDelegate } from "../sandboxes/recording.ts";
import type { SandboxRecord } from "../sandboxes/records.ts";
import { TestApi, testPod } from "../testing/api.ts";
import { PodViews } from "./pod-views.ts";

const result: CniResult = {
  interfaces: [
    { name: "veth1", mac: "02:00:00:00:00:02" },
    { name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/var/run/netns/x" },
  ],
  ips: [{ address: { ip: parseIp("172.18.0.9"), bits: 16 }, interface: 1 }],
  routes: [],
};
const attached = [
  { delegate: { displayName: "kube-system/net", ifName: "eth0", master: true }, result },
] as unknown as readonly AttachedDelegate[];

describe("the views of a Pod", () => {
  let api: TestApi;
  let tasks: Tasks;
  let views: PodViews;

  beforeEach(async () => {
    api = new TestApi();
    tasks = new Tasks(silentLogger);
    api.fake.apply(pods, testPod("a"));
    const { client, clock } = api;
    const log = silentLogger;
    const recorder = new EventRecorder({ client, clock, log, component: "agent", host: "n1" });
    tasks.spawn("events", (signal) => recorder.run({ signal }));
    const mine = (one: Claim) => ({ ...one, spec: { ...one.spec, podUID: pod().metadata.uid } });
    const ledger: Pick<Ledger, "claimsNamed"> = { claimsNamed: () => claimsOfNics.map(mine) };
    const settings = { enableStatefulSet: true, enableKubevirtStaticIP: true };
    const owners = new TopControllers(client);
    const idle = () => Promise.resolve();
    const endpoints = new Endpoints({ client, clock, ledger, owners, node: "n1", settings });
    const store = await api.store(pods);
    views = new PodViews({ client, clock, log, tasks, events: recorder, endpoints, pods: store, idle });
  });
  afterEach(async () => {
    await tasks.stop();
    api[Symbol.dispose]();
  });

  const pod = () => api.fake.read(pods, { namespace: "default", name: "a" }) ?? assert.fail("no Pod");
  /** The API server takes a Pod's annotations with its status; the one in memory does not. */
  const statuses = () =>
    api.fake.requests
      .filter(({ method, path }) => method === "PATCH" && path.includes("/pods/a/status?"))
      .map(({ body }) => JSON.parse(String(body)).metadata);
  const endpoint = () => api.fake.read(spiderEndpoints, { namespace: "default", name: "a" });
  const told = () => api.fake.all(events).map(({ type, reason, message }) => `${type} ${reason}: ${message}`);

  it("writes network-status, SpiderEndpoint and an Event for each network", async () => {
    views.added(attached, pod());
    await api.clock.advance(2_000);
    const [written] = statuses();
    assert.equal(written.uid, pod().metadata.uid);
    const [entry] = JSON.parse(written.annotations[networkStatusAnnotation]);
    assert.deepEqual([entry.name, entry.interface, entry.ips], ["kube-system/net", "eth0", ["172.18.0.9"]]);
    const { metadata, status } = endpoint() ?? assert.fail("no endpoint");
    assert.deepEqual(
      [metadata.ownerReferences?.[0]?.uid, status.current.uid, status.current.node, status.ownerControllerType],
      [pod().metadata.uid, pod().metadata.uid, "n1", "Pod"],
    );
    assert.deepEqual(status.current.ips, endpointNics(claimsOfNics));
    assert.deepEqual(told(), ["Normal AddedInterface: Add eth0 [172.18.0.9/16] from kube-system/net"]);
    const writes = api.fake.requests.filter(({ method }) => method !== "GET");
    assert.deepEqual(
      writes.map(({ isView }) => isView),
      [true, true, true],
      "no claim waits for a connection that one of these has",
    );
  });

  it("warns of an address that a network selection asks for and the NIC does not have", async () => {
    const [only] = attached;
    const selection = { namespace: "kube-system", name: "net", ips: ["172.18.0.10/16"] };
    views.added([{ ...only, delegate: { ...only?.delegate, selection } } as AttachedDelegate], pod());
    await api.clock.advance(2_000);
    assert.match(told().join("\n"), /^Warning AddressNotGiven: eth0 does not have 172\.18\.0\.10\/16, which/m);
  });

  it("warns of a route of the Pod's annotation that no NIC gets, and shows the others in the endpoint", async () => {
    const routes = '[{"dst":"10.8.0.0/16","gw":"172.18.0.3"},{"dst":"10.8.0.0/16","gw":"192.168.1.1"}]';
    const { metadata, ...rest } = pod();
    views.added(attached, { ...rest, metadata: { ...metadata, annotations: { "ipam.spidernet.io/routes": routes } } });
    await api.clock.advance(2_000);
    const left = told().filter((text) => text.includes("RouteLeftOut"));
    assert.deepEqual(left, [
      "Warning RouteLeftOut: no NIC has the route 10.8.0.0/16 via 192.168.1.1 of annotation 'ipam.spidernet.io/routes': its gateway is in no NIC's subnet",
    ]);
    assert.deepEqual(endpoint()?.status.current.ips[0]?.routes, [{ dst: "10.8.0.0/16", gw: "172.18.0.3" }]);
  });

  const faults: readonly Fault[] = [
    { kind: "status", status: 429, reason: "TooManyRequests" },
    { kind: "status", status: 500, reason: "InternalError" },
    { kind: "lost-before" },
    { kind: "lost-after" },
  ];
  for (const fault of faults) {
    it(`tries again where an answer is ${"reason" in fault ? fault.reason : fault.kind}`, async () => {
      api.fake.fail(({ path }) => path.includes("/status?"), fault, 2);
      api.fake.fail(({ method, path }) => method === "POST" && path.includes("spiderendpoints"), fault, 2);
      views.added(attached, pod());
      await api.clock.advance(60_000);
      assert.equal(statuses().length, 3);
      assert.deepEqual(endpoint()?.status.current.ips, endpointNics(claimsOfNics));
    });
  }

  it("writes what an agent that was killed right after its answer left unwritten, once", async () => {
    const { device, inode } = readNetnsId("/proc/self/ns/net") ?? assert.fail("no namespace");
    const netns = { path: "/proc/self/ns/net", device: String(device), inode: String(inode) };
    const { name, namespace = "", uid } = pod().metadata;
    const network = {
      capabilityArgs: {},
      name: "kube-system/net",
      ifName: "eth0",
      cniVersion: "1.0.0",
      result: encodeResult(result, "1.0.0"),
    };
    const record = {
      format: 1,
      containerId: "c1",
      ifName: "eth0",
      network: "multus-cni-network",
      netns,
      bootId: bootId(),
      pod: { name, namespace, uid },
      networks: [network],
      complete: true,
    } as unknown as SandboxRecord;
    const resume = async (...records: readonly SandboxRecord[]) => {
      views.resume(records);
      await api.clock.advance(2_000);
    };
    await resume(
      { ...record, complete: false },
      { ...record, netns: { ...netns, inode: "1" } },
      { ...record, pod: { name, namespace, uid: "another" } },
    );
    assert.deepEqual([statuses(), endpoint(), told()], [[], undefined, []]);
    await resume(record);
    const [entry] = JSON.parse(statuses()[0].annotations[networkStatusAnnotation]);
    assert.deepEqual([entry.name, entry.default, entry.ips], ["kube-system/net", true, ["172.18.0.9"]]);
    assert.equal(endpoint()?.status.current.uid, uid);
    const annotated = { [networkStatusAnnotation]: statuses()[0].annotations[networkStatusAnnotation] };
    api.fake.apply(pods, testPod("a", { metadata: { annotations: annotated, uid } }));
    await resume(record);
    assert.equal(statuses().length, 1);
  });

  it("brings an endpoint of a former Pod of that name up to date, and writes nothing where nothing changed", async () => {
    const stale = {
      current: { uid: "former", node: "n2", ips: [] },
      ownerControllerType: "Pod",
      ownerControllerName: "a",
    };
    api.fake.apply(spiderEndpoints, { metadata: { namespace: "default", name: "a" }, status: stale });
    views.added(attached, pod());
    await api.clock.advance(2_000);
    const sorted = endpoint() ?? assert.fail("no endpoint");
    assert.equal(sorted.metadata.ownerReferences?.[0]?.uid, pod().metadata.uid);
    const { current, ownerControllerName, ownerControllerType } = sorted.status;
    const { ips, node, uid } = current; // an API server returns the fields of custom resources in this order
    api.fake.apply(spiderEndpoints, {
      ...sorted,
      status: { current: { ips, node, uid }, ownerControllerName, ownerControllerType },
    });
    const written = endpoint();
    views.added(attached, pod());
    await api.clock.advance(2_000);
    assert.equal(endpoint()?.metadata.resourceVersion, written?.metadata.resourceVersion);
  });

  it("reads the endpoint again where somebody else wrote it meanwhile", async () => {
    api.fake.apply(spiderEndpoints, { metadata: { namespace: "default", name: "a" }, status: {} });
    api.fake.fail(({ method }) => method === "PUT", { kind: "status", status: 409, reason: "Conflict" }, 2);
    views.added(attached, pod());
    await api.clock.advance(60_000);
    assert.deepEqual(endpoint()?.status.current.ips, endpointNics(claimsOfNics));
  });

  it("leaves another Pod of the same name alone, at once", async () => {
    const former = pod();
    api.fake.remove(pods, { namespace: "default", name: "a" });
    api.fake.apply(pods, testPod("a"));
    views.added(attached, former);
    await api.clock.advance(60_000);
    assert.deepEqual([statuses().length, endpoint()], [1, undefined]);
  });

  it("makes the index of a StatefulSet's Pod again when the Pod ends, where somebody has deleted it", async () => {
    const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name: "s", uid: "s", controller: true };
    const { uid } = pod().metadata;
    const put = (more: object) =>
      api.fake.apply(pods, testPod("a", { metadata: { uid, ownerReferences: [owner], ...more } }));
    const ending = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    const reads = () => api.fake.requests.filter(({ path }) => path.includes("spiderendpoints/a")).length;
    put({});
    await api.clock.advance(2_000);
    assert.equal(reads(), 0, "while it lives");
    put(ending);
    await api.clock.advance(0);
    assert.deepEqual(endpoint()?.status.current.ips, endpointNics(claimsOfNics));
    assert.deepEqual(endpoint()?.metadata.ownerReferences, []);
    const before = reads();
    api.fake.remove(spiderEndpoints, { namespace: "default", name: "a" });
    api.fake.remove(pods, { namespace: "default", name: "a" });
    await api.clock.advance(2_000);
    assert.equal(reads(), before, "its end was looked at");
    put({ uid: "forced" });
    await api.clock.advance(0);
    api.fake.remove(pods, { namespace: "default", name: "a" });
    await api.clock.advance(0);
    assert.ok(reads() > before, "deleted by force, it never ends by steps");
  });

  it("asks for no endpoint when a Pod ends that has no index", async () => {
    api.fake.remove(pods, { namespace: "default", name: "a" });
    await api.clock.advance(2_000);
    assert.deepEqual(
      [endpoint(), api.fake.requests.some(({ path }) => path.includes("spiderendpoints"))],
      [undefined, false],
    );
  });

  const about = {
    containerId: "c",
    netns: "",
    ifName: "eth0",
    args: new Map(),
    pod: { namespace: "default", name: "a", uid: "" },
  };

  it("tells once in five minutes of conflicts, though each try meets them at other addresses", async () => {
    const conflict = (ip: string) => new SpiderError("ADDRESS_CONFLICT", `ip conflict: ${ip} is located elsewhere`);
    for (const ip of ["10.6.0.1", "10.6.0.2"]) views.failed(about, conflict(ip));
    await api.clock.advance(1_000);
    assert.equal(told().length, 1);
    await api.clock.advance(300_000);
    views.failed(about, conflict("10.6.0.3"));
    await api.clock.advance(1_000);
    assert.match(told().at(-1) ?? "", /10\.6\.0\.3/);
  });

  it("tells once in five minutes of what the kernel refuses, though each try has a namespace and names of links of its own", async () => {
    for (const [netns, veth] of [
      ["/run/netns/cni-1", "veth1e32eb02"],
      ["/run/netns/cni-2", "vethb7e92568"],
    ] as const) {
      views.failed(
        { ...about, netns },
        new SpiderError("LINK", `cannot create ${veth} in ${netns}: Operation not supported`),
      );
    }
    await api.clock.advance(1_000);
    assert.equal(told().length, 1);
  });

  it("tells once in five minutes that the same pools are used up, though their counts change", async () => {
    const usedUp = (pools: string, counts: string) =>
      new SpiderError("POOL_EXHAUSTED", `from IPPools [${pools}]: all IP addresses used out: ${counts}`);
    views.failed(about, usedUp("a", "all 2 addresses are taken: 1 in use, 1 in quarantine"));
    views.failed(about, usedUp("a", "all 2 addresses are in use"));
    await api.clock.advance(1_000);
    assert.equal(told().length, 1);
    views.failed(about, usedUp("b", "all 2 addresses are in use"));
    await api.clock.advance(1_000);
    assert.equal(told().length, 2);
  });

  it("tells the Pod why an ADD failed, with a reason that can be searched for", async () => {
    views.failed(about, new SpiderError("POOL_EXHAUSTED", "all used", { details: { fix: "add some" } }));
    views.failed(about, new CniError(cniCodes.failed, "no", { cause: new SpiderError("WRONG_INPUT", "bad") }));
    views.failed(about, new Error("boom"));
    views.failed({ ...about, pod: { namespace: "default", name: "unknown", uid: "" } }, new Error("nobody"));
    await api.clock.advance(1_000);
    assert.deepEqual(told().sort(), [
      "Warning IPPoolExhausted: all used. What to do: add some. See: spiderpoolctl explain pod a -n default",
      "Warning InvalidAnnotation: no. bad. See: spiderpoolctl explain pod a -n default",
      "Warning NetworkFailed: boom. See: spiderpoolctl explain pod a -n default",
    ]);
    const codes = api.fake.all(events).map(({ metadata }) => metadata.annotations?.[annotations.errorCode]);
    assert.deepEqual(codes.sort(), ["POOL_EXHAUSTED", "UNKNOWN", "WRONG_INPUT"]);
  });
});
