import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { annotations, type SpiderMultusConfig, type SpiderMultusConfigSpec } from "#api";
import { type InjectedPod, inject, injectionOf, injectionsOf, tryParsePod } from "./inject.ts";

const { rdmaResourceInject: rdma, networkResourceInject: net, networks } = annotations;
const ippools = { ipv4: ["p"] };

function pod(notes: Readonly<Record<string, string>> = {}, spec: object = {}): InjectedPod {
  const parsed = tryParsePod({ metadata: { annotations: notes }, spec: { containers: [{ name: "a" }], ...spec } });
  return parsed ?? assert.fail();
}

function config(
  name: string,
  spec: SpiderMultusConfigSpec,
  notes: Readonly<Record<string, string>> = {},
): SpiderMultusConfig {
  return { metadata: { namespace: "n", name, uid: name, resourceVersion: "1", annotations: notes }, spec };
}

const macvlan = (name: string, master: string, resource = "", notes = {}) =>
  config(name, { cniType: "macvlan", macvlan: { master: [master], rdmaResourceName: resource, ippools } }, notes);

function injected(wanted: InjectedPod, configs: readonly SpiderMultusConfig[], key: typeof rdma | typeof net = rdma) {
  const answer = inject(wanted, { key, value: "x" }, configs);
  return answer.kind === "injected" ? answer : assert.fail(answer.reason);
}

function reason(configs: readonly SpiderMultusConfig[], key: typeof rdma | typeof net = rdma) {
  const answer = inject(pod(), { key, value: "x" }, configs);
  return answer.kind === "refused" ? answer.reason : assert.fail("not refused");
}

const networksOf = ({ metadata }: InjectedPod) => metadata.annotations?.[networks];
const limitsOf = ({ spec }: InjectedPod) => spec.containers.map(({ resources }) => resources?.limits ?? {});

describe("what a Pod asks for", () => {
  it("comes from its own annotation before its namespace's, and from the RDMA key before the other", () => {
    assert.deepEqual(injectionOf(pod({ [net]: "own" }), { [net]: "space" }), { key: net, value: "own" });
    assert.deepEqual(injectionOf(pod(), { [net]: "space" }), { key: net, value: "space" });
    assert.deepEqual(injectionOf(pod({ [net]: "own" }), { [rdma]: "space" }), { key: rdma, value: "space" });
    assert.deepEqual(injectionOf(pod({ [net]: "own", [rdma]: "" }), {}), { key: net, value: "own" });
    assert.equal(injectionOf(pod(), {}), undefined);
  });

  it("is nothing on the host's network, where networks have no effect and resources could block scheduling", () => {
    assert.equal(injectionOf(pod({ [rdma]: "x" }, { hostNetwork: true }), { [rdma]: "x" }), undefined);
  });

  it("is found by the annotations of networks that are not terminating", () => {
    assert.deepEqual(injectionsOf(macvlan("a", "eth1", "", { [rdma]: "x", [net]: "y" })), [`${rdma}=x`, `${net}=y`]);
    const gone = macvlan("a", "eth1", "", { [rdma]: "x" });
    const metadata = { ...gone.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" };
    assert.deepEqual(injectionsOf({ ...gone, metadata }), []);
  });
});

describe("an injected Pod", () => {
  it("is on every network, in the order of masters, bonds and resources, then of names", () => {
    const bonded = config("bonded", {
      cniType: "ipvlan",
      ipvlan: {
        master: ["zz", "zy"],
        bond: { name: "bond0", mode: 1 },
        rdmaResourceName: "r/b",
        ippools,
      },
    });
    const sriov = config("vf", { cniType: "sriov", sriov: { resourceName: "c/vf", ippools } });
    const all = [macvlan("m2", "eth1", "r/1"), sriov, macvlan("m1", "eth1", "r/1"), bonded];
    assert.equal(networksOf(injected(pod(), all).pod), "n/bonded,n/vf,n/m1,n/m2");
  });

  it("names the network, not the SpiderMultusConfig, and in JSON where a name has a dot", () => {
    const named = (name: string) => macvlan("m", "eth1", "r/1", { [annotations.networkName]: name });
    assert.equal(networksOf(injected(pod(), [named("k8s-pod-network")]).pod), "n/k8s-pod-network");
    assert.equal(networksOf(injected(pod(), [named("a.b")]).pod), '[{"namespace":"n","name":"a.b"}]');
  });

  it("has each resource once, in the first container's limits, unless a container has it", () => {
    const containers = [
      { name: "a", resources: { limits: { cpu: 1 } } },
      { name: "b", resources: { limits: { "r/2": "3" } } },
    ];
    const configs = [macvlan("a", "eth1", "r/1"), macvlan("b", "eth2", "r/2"), macvlan("c", "eth3", "r/1")];
    assert.deepEqual(limitsOf(injected(pod({}, { containers }), configs).pod), [
      { cpu: 1, "r/1": "1" },
      { "r/2": "3" },
    ]);
  });

  it("gets no resource from ipoib, whose master is not a resource", () => {
    const ipoib = config("ib", { cniType: "ipoib", ipoib: { master: "ib0", ippools } });
    assert.deepEqual(limitsOf(injected(pod(), [ipoib]).pod), [{}]);
  });

  it("may have, by the key of networks, a network with neither pools nor a resource", () => {
    const plain = config("m", { cniType: "macvlan", macvlan: { master: ["eth1"] } });
    assert.equal(networksOf(injected(pod(), [plain], net).pod), "n/m");
  });

  it("comes with a warning if its own list of networks was replaced", () => {
    const { pod: made, warnings } = injected(pod({ [networks]: "mine" }), [macvlan("m", "eth1", "r/1")]);
    assert.equal(networksOf(made), "n/m");
    assert.match(warnings.join(), /networks was "mine" and is replaced/);
  });

  it("is unchanged by a second injection, and keeps all its other fields", () => {
    const name = fc.constantFrom("a", "b", "c", "d.e");
    const configs = fc.uniqueArray(fc.tuple(name, name, name), { minLength: 1, selector: ([one]) => one });
    const limits = fc.dictionary(fc.constantFrom("r/a", "r/b", "cpu"), fc.constant("2"));
    fc.assert(
      fc.property(configs, fc.array(limits, { minLength: 1, maxLength: 3 }), (chosen, given) => {
        const containers = given.map((limit, at) => ({ name: `c${at}`, resources: { limits: limit, requests: {} } }));
        const before = pod({ team: "a" }, { containers, nodeName: "n1" });
        const all = chosen.map(([one, master, resource]) => macvlan(one, master, `r/${resource}`));
        const once = injected(before, all);
        assert.deepEqual(injected(once.pod, all.toReversed()), { ...once, warnings: [] });
        assert.equal(once.pod.metadata.annotations?.["team"], "a");
        assert.equal(once.pod.spec["nodeName"], "n1");
        for (const [at, limit] of given.entries()) {
          for (const [key, value] of Object.entries(limit)) assert.equal(limitsOf(once.pod)[at]?.[key], value);
        }
        for (const [, , resource] of chosen) {
          assert.ok(limitsOf(once.pod).some((limit) => Object.hasOwn(limit, `r/${resource}`)));
        }
      }),
    );
  });
});

describe("an injection is refused", () => {
  it("if no network has the annotation", () => {
    assert.match(reason([]), /^no spidermultusconfigs with annotation: cni.spidernet.io\/rdma-resource-inject:x found/);
  });

  it("naming the network, if it has no resource, no pools, or a type without either", () => {
    assert.match(reason([macvlan("m", "eth1")]), /^SpiderMultusConfig n\/m: .*the network must name a resource/);
    const poolless = config("m", { cniType: "sriov", sriov: { resourceName: "a/b" } });
    for (const key of [rdma, net] as const) assert.match(reason([poolless], key), /at least one IPv4 or IPv6 pool/);
    assert.match(reason([config("o", { cniType: "ovs", ovs: { bridge: "br1" } })]), /cniType ovs have no resource/);
    assert.match(reason([config("c", {})], net), /cniType custom have no resource/);
  });
});
