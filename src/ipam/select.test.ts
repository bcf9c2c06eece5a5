import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { labels } from "#api";
import { annotationKeys } from "./annotations.ts";
import type { PoolView } from "./pool.ts";
import { decide, type SelectionInput } from "./select.ts";
import { subnetAnnotationKeys } from "./subnet-annotations.ts";
import {
  candidates,
  input,
  ippool,
  madeFor,
  noPools,
  pool4,
  pool6,
  refusedWith,
  type Spec,
  withPod,
} from "./testing/selection.ts";

describe("decide(): precedence", () => {
  const levels = ["subnet", "ippools", "ippool", "namespace", "network", "default"] as const;
  const pools = levels.map((rule) =>
    pool4(rule, { default: rule === "default" }, rule === "subnet" ? { labels: madeFor() } : {}),
  );

  /** Everything said that the rules of `said` read; each rule's pool is named like the rule. */
  function saying(said: readonly string[]): SelectionInput {
    const says = (rule: string) => said.includes(rule);
    const given = input(pools.filter(({ name }) => name !== "default" || says("default")));
    return {
      ...withPod(given, {
        ...(says("subnet") && { [subnetAnnotationKeys.subnet]: '{"ipv4":["s4"]}' }),
        ...(says("ippools") && { [annotationKeys.ippools]: '[{"interface":"eth0","ipv4":["ippools"]}]' }),
        ...(says("ippool") && ippool("ippool")),
      }),
      namespace: {
        ...given.namespace,
        annotations: says("namespace") ? { [annotationKeys.defaultIpv4]: '["namespace"]' } : {},
      },
      network: { pools: says("network") ? { 4: ["network"], 6: [] } : noPools, cleanGateway: false },
    };
  }

  it("takes the highest level that says anything, for every set of levels", () => {
    fc.assert(
      fc.property(fc.subarray([...levels], { minLength: 1 }), (said) => {
        const decisions = decide(saying(said));
        const [highest] = levels.filter((rule) => said.includes(rule));
        assert.deepEqual(candidates(decisions), [highest]);
        assert.deepEqual(
          decisions.map(({ rule, family }) => [rule, family]),
          [[highest, 4]],
        );
      }),
    );
  });

  it("never mixes levels: a level that names one family decides that the other gets none", () => {
    const both = input([pool4("a"), pool6("d6", { default: true })]);
    assert.deepEqual(
      decide(withPod(both, ippool("a"))).map(({ family }) => family),
      [4],
    );
  });

  it("says under which key a pool is named, where an annotation has another", () => {
    const [decision] = decide(withPod(input([pool4("a")]), { [annotationKeys.ippool]: '{"ipv4s":["a"]}' }));
    assert.equal(decision?.outcome.kind, "refused");
    assert.equal(decision.outcome.fix, 'name an IPPool there for IPv4 or IPv6, under "ipv4" or "ipv6"');
  });

  it("does not fall through a Pod annotation that is empty or bad", () => {
    const given = input([pool4("d", { default: true })]);
    for (const value of ["{}", '{"ipv4":[],"ipv6":[]}', "null"]) {
      refusedWith(
        decide(withPod(given, { [annotationKeys.ippool]: value })),
        "NO_POOL",
        /^no IPPool available, Pod annotation 'ipam\.spidernet\.io\/ippool' names no IPPool for NIC eth0/,
      );
    }
    refusedWith(decide(withPod(given, { [annotationKeys.ippool]: "x" })), "WRONG_INPUT", /it is not JSON/);
    refusedWith(
      decide(withPod(given, { [annotationKeys.ippool]: "x".repeat(1_000_000) })),
      "WRONG_INPUT",
      /at most 65536/,
    );
  });

  it("falls through empty lists of the namespace and the network", () => {
    const given = input([pool4("d", { default: true })]);
    const namespace = { ...given.namespace, annotations: { [annotationKeys.defaultIpv4]: "[]" } };
    assert.deepEqual(candidates(decide({ ...given, namespace })), ["d"]);
  });

  it("says so when nothing is specified anywhere", () => {
    refusedWith(
      decide(input([pool4("a")])),
      "NO_POOL",
      /^no IPPool available, no pool selection rules of any type are specified$/,
    );
    refusedWith(
      decide(input([pool6("a", { default: true })], { families: [4] })),
      "NO_POOL",
      /no pool selection rules/,
    );
  });
});

describe("decide(): families", () => {
  const pools = [pool4("d4", { default: true }), pool6("d6", { default: true })];

  it("gives one decision for each enabled family that has pools", () => {
    assert.deepEqual(
      decide(input(pools)).map(({ family, outcome }) => [family, outcome]),
      [
        [4, { kind: "candidates", pools: ["d4"] }],
        [6, { kind: "candidates", pools: ["d6"] }],
      ],
    );
    assert.deepEqual(
      decide(input(pools, { families: [6] })).map(({ family }) => family),
      [6],
    );
  });

  it("drops the disabled family without a word, but not the only one named", () => {
    const named = withPod(input(pools, { families: [4] }), {
      [annotationKeys.ippool]: '{"ipv4":["d4"],"ipv6":["nowhere"]}',
    });
    assert.deepEqual(candidates(decide(named)), ["d4"]);
    refusedWith(
      decide(withPod(named, { [annotationKeys.ippool]: '{"ipv6":["d6"]}' })),
      "NO_POOL",
      /names no IPPool for NIC eth0 in an enabled family/,
    );
  });

  it("refuses one family and leaves the other's decision to be seen", () => {
    const decisions = decide(input([pool4("d4", { default: true }), pool6("d6", { default: true, disable: true })]));
    assert.deepEqual(
      decisions.map(({ outcome }) => outcome.kind),
      ["candidates", "refused"],
    );
    refusedWith(
      decisions,
      "NO_POOL",
      /^no IPPool available, all IPv6 IPPools \[d6\] of eth0 filtered out: disabled IPPool d6$/,
    );
  });
});

describe("decide(): names", () => {
  const pools = [pool4("web-b"), pool4("web-a"), pool4("db"), pool6("web-6")];

  it("expands patterns in order of name, over the pools of the family only", () => {
    assert.deepEqual(candidates(decide(withPod(input(pools), ippool("db", "web-*")))), ["db", "web-a", "web-b"]);
    const namespace = { name: "default", labels: {}, annotations: { [annotationKeys.defaultIpv6]: '["web-?"]' } };
    assert.deepEqual(candidates(decide(input(pools, { namespace }))), ["web-6"]);
    const network = { pools: { 4: ["web-[a]"], 6: [] }, cleanGateway: false };
    assert.deepEqual(candidates(decide(input(pools, { network }))), ["web-a"]);
    const ippools = withPod(input(pools), { [annotationKeys.ippools]: '[{"interface":"eth0","ipv4":["*b"]}]' });
    assert.deepEqual(candidates(decide(ippools)), ["db", "web-b"]);
  });

  it("refuses duplicates however they came about", () => {
    for (const names of [
      ["db", "db"],
      ["web-a", "web-*"],
      ["web-*", "*-a"],
    ]) {
      refusedWith(
        decide(withPod(input(pools), ippool(...names))),
        "WRONG_INPUT",
        /^wrong input, duplicate IPPool (db|web-a) specified for NIC eth0$/,
      );
    }
  });

  it("refuses a name that does not exist even beside usable ones, a broken pool, an empty and a bad pattern", () => {
    const given = input(pools, {
      brokenPools: new Map([["broken", "SpiderIPPool broken cannot be used, spec.ips[0] …"]]),
    });
    refusedWith(
      decide(withPod(given, ippool("db", "none"))),
      "POOL_NOT_FOUND",
      /^failed to get original IPPool none: IPPool "none" not found$/,
    );
    refusedWith(decide(withPod(given, ippool("broken"))), "BROKEN_POOL", /^SpiderIPPool broken cannot be used/);
    refusedWith(decide(withPod(given, ippool("x*"))), "NO_POOL", /pattern 'x\*' matches no IPv4 IPPool/);
    refusedWith(decide(withPod(given, ippool("[]"))), "WRONG_INPUT", /malformed IPPool pattern '\[\]'/);
  });

  it("bounds the sentence about hundreds of pools", () => {
    const many = Array.from({ length: 500 }, (_, at) => pool4(`p${String(at).padStart(3, "0")}`, { disable: true }));
    const decisions = decide(withPod(input(many), ippool("p*")));
    refusedWith(
      decisions,
      "NO_POOL",
      /\[p000 .* and 490 more\] of eth0 filtered out: disabled IPPool p000; .*; and 490 more$/,
    );
    assert.equal(decisions[0]?.steps.length, 500);
  });
});

describe("decide(): several NICs", () => {
  const pools = [pool4("a"), pool4("b"), pool4("c")];

  it("uses the item of the NIC, with its own clean gateway", () => {
    const given = withPod(input(pools, { network: { pools: noPools, cleanGateway: true } }), {
      [annotationKeys.ippools]:
        '[{"interface":"eth0","ipv4":["a"]},{"interface":"net1","ipv4":["b"],"cleangateway":true}]',
    });
    assert.deepEqual(
      decide(given).map(({ named, cleanGateway }) => [named, cleanGateway]),
      [[["a"], false]],
    );
    assert.deepEqual(
      decide({ ...given, nic: "net1" }).map(({ named, cleanGateway }) => [named, cleanGateway]),
      [[["b"], true]],
    );
    refusedWith(decide({ ...given, nic: "net2" }), "WRONG_INPUT", /interface net2 must be specified/);
  });

  it("takes un-named items by position: eth0 first, then the selected networks in order", () => {
    const given = withPod(input(pools), { [annotationKeys.ippools]: '[{"ipv4":["a"]},{"ipv4":["b"]},{"ipv4":["c"]}]' });
    assert.deepEqual(candidates(decide(given)), ["a"]);
    assert.deepEqual(candidates(decide({ ...given, nic: "net2" })), ["c"]);
    assert.deepEqual(candidates(decide({ ...given, nic: "custom", slot: 1 })), ["b"]);
    refusedWith(decide({ ...given, nic: "net3" }), "WRONG_INPUT", /interface net3 must be specified/);
    refusedWith(decide({ ...given, nic: "custom" }), "WRONG_INPUT", /interface custom must be specified/);
  });

  it("takes the network's clean gateway for the form without NICs", () => {
    const given = withPod(input(pools, { network: { pools: noPools, cleanGateway: true } }), ippool("a"));
    assert.deepEqual(
      decide(given).map(({ cleanGateway }) => cleanGateway),
      [true],
    );
  });
});

describe("decide(): subnets", () => {
  const with4 = (more?: Readonly<Record<string, string>>) =>
    withPod(input([pool4("auto4-web-eth0-9a2b3", {}, { labels: madeFor(more) }), pool4("d", { default: true })]), {
      [subnetAnnotationKeys.subnet]: '{"ipv4":["s4"]}',
    });
  const given = with4();

  it("waits clearly for the automatic pool of each family asked for", () => {
    refusedWith(
      decide(with4({ [labels.ownerApplicationUid]: "uid-of-its-predecessor" })),
      "AUTO_POOL_PENDING",
      /of Deployment default\/web for NIC eth0 from SpiderSubnet s4 is not there yet/,
    );
    for (const label of [labels.interface, labels.ownerSubnet]) {
      refusedWith(decide(with4({ [label]: "other" })), "AUTO_POOL_PENDING", /not there yet/);
    }
    const both = { [subnetAnnotationKeys.subnet]: '{"ipv4":["s4"],"ipv6":["s6"]}' };
    refusedWith(decide(withPod(given, both)), "AUTO_POOL_PENDING", /from SpiderSubnet s6 is not there yet/);
    assert.deepEqual(candidates(decide({ ...withPod(given, both), families: [4] })), ["auto4-web-eth0-9a2b3"]);
    assert.deepEqual(candidates(decide(given)), ["auto4-web-eth0-9a2b3"]);
  });

  it("refuses a bare Pod, a switched-off feature, a NIC without subnet and a bad annotation; ignores the keys without SpiderSubnet", () => {
    refusedWith(
      decide({ ...given, owner: undefined }),
      "WRONG_INPUT",
      /SpiderSubnet feature doesn't support no-controller pod/,
    );
    const cloneSet = { ...input([]).owner, apiGroup: "apps.kruise.io", kind: "CloneSet" } as SelectionInput["owner"];
    refusedWith(
      decide({ ...given, owner: cloneSet }),
      "WRONG_INPUT",
      /made for Deployment, .*CronJob only, and the Pod is one of CloneSet default\/web$/,
    );
    const settings = { enableSpiderSubnet: true, enableAutoPoolForApplication: false };
    refusedWith(
      decide({ ...given, settings }),
      "WRONG_INPUT",
      /^it's invalid to use 'ipam\.spidernet\.io\/subnets' or 'ipam\.spidernet\.io\/subnet' annotation when Auto-Pool feature is disabled$/,
    );
    refusedWith(decide({ ...given, nic: "net1" }), "NO_POOL", /has no subnet for NIC net1/);
    refusedWith(decide(withPod(given, { [subnetAnnotationKeys.subnets]: "[" })), "WRONG_INPUT", /it is not JSON/);
    assert.deepEqual(candidates(decide({ ...given, settings: { ...settings, enableSpiderSubnet: false } })), ["d"]);
  });
});

describe("decide(): order", () => {
  const kinds = {
    pod: { podAffinity: { matchLabels: { app: "web" } } },
    nodeName: { nodeName: ["n1"] },
    node: { nodeAffinity: {} },
    nsName: { namespaceName: ["default"] },
    ns: { namespaceAffinity: {} },
    multus: { multusName: ["ns/a"] },
  } satisfies Record<string, Spec>;

  function order(pools: readonly PoolView[], names = pools.map(({ name }) => name)): readonly string[] {
    return candidates(decide(withPod(input(pools, { netAttachDef: "ns/a" }), ippool(...names))));
  }

  it("puts each speciality before all later ones together", () => {
    const list: readonly (readonly [string, Spec])[] = [
      ["pod+node", { ...kinds.pod, ...kinds.node }],
      ["pod+ns+multus", { ...kinds.pod, ...kinds.ns, ...kinds.multus }],
      ["pod", kinds.pod],
      ["nodeName+nsName", { ...kinds.nodeName, ...kinds.nsName }],
      ["nodeName", kinds.nodeName],
      ["node", kinds.node],
      ["nsName+multus", { ...kinds.nsName, ...kinds.multus }],
      ["nsName", kinds.nsName],
      ["ns", kinds.ns],
      ["multus", kinds.multus],
      ["plain", {}],
    ];
    const pools = list.map(([name, spec]) => pool4(name, spec));
    const want = list.map(([name]) => name);
    fc.assert(
      fc.property(fc.shuffledSubarray(pools, { minLength: pools.length }), (shuffled) => {
        assert.deepEqual(order(shuffled), want);
      }),
    );
  });

  it("keeps the order named among equals, so that the first is the primary and the rest are backups", () => {
    const pools = ["a", "b", "c", "d"].map((name) => pool4(name));
    fc.assert(
      fc.property(fc.shuffledSubarray(["a", "b", "c", "d"], { minLength: 1 }), (names) => {
        assert.deepEqual(order(pools, names), names);
      }),
    );
  });

  it("sorts default pools by name among equals", () => {
    const pools = ["c", "a", "b"].map((name) => pool4(name, { default: true }));
    assert.deepEqual(candidates(decide(input(pools))), ["a", "b", "c"]);
  });
});
