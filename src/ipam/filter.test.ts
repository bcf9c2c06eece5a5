import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp } from "#ip";
import { annotationKeys } from "./annotations.ts";
import { checks } from "./checks.ts";
import { formatVerdict } from "./format.ts";
import type { PoolView } from "./pool.ts";
import { decide, type SelectionInput } from "./select.ts";
import { candidates, formatRefusal, input, ippool, pool4, pool6, refusedWith, withPod } from "./testing/selection.ts";

describe("decide(): filter", () => {
  /** Each row: the pool, what to change in the input, the check that rejects (undefined: accepted), the sentence. */
  const application = {
    "ipam.spidernet.io/app-api-group": "apps",
    "ipam.spidernet.io/app-api-version": "v1",
    "ipam.spidernet.io/app-kind": "Deployment",
    "ipam.spidernet.io/app-namespace": "default",
    "ipam.spidernet.io/app-name": "web",
  };
  const auto = { labels: { "ipam.spidernet.io/owner-application-name": "web" } };
  const strict = {
    settings: { enableSpiderSubnet: true, enableAutoPoolForApplication: true, enableStrictIPPoolScope: true },
  };
  const rows: readonly [string, PoolView, Partial<SelectionInput>, string | undefined, RegExp?][] = [
    [
      "strict, a pool for no namespace",
      pool4("p"),
      strict,
      "scope",
      /is for no namespace, and enableStrictIPPoolScope/,
    ],
    ["strict, a pool for this namespace", pool4("p", { namespaceName: ["default"] }), strict, undefined],
    ["strict, a pool for namespaces by label", pool4("p", { namespaceAffinity: {} }), strict, undefined],
    ["nothing asked", pool4("p"), {}, undefined],
    [
      "terminating",
      pool4("p", { disable: true }, { deletionTimestamp: "x" }),
      {},
      "terminating",
      /^terminating IPPool p$/,
    ],
    ["disabled", pool4("p", { disable: true, nodeName: ["n9"] }), {}, "disabled", /^disabled IPPool p$/],
    [
      "other family",
      pool6("p", { nodeName: ["n9"] }),
      {},
      "family",
      /^expect an IPv4 IPPool, but the version of the IPPool p is IPv6$/,
    ],
    ["node listed", pool4("p", { nodeName: ["n0", "n1"] }), {}, undefined],
    [
      "node not listed",
      pool4("p", { nodeName: ["n8", "n9"] }),
      {},
      "nodeName",
      /^unmatched Node name of IPPool p: expected n8 n9, found n1$/,
    ],
    [
      "node listed, affinity ignored",
      pool4("p", { nodeName: ["n1"], nodeAffinity: { matchLabels: { zone: "z9" } } }),
      {},
      undefined,
    ],
    ["node selected", pool4("p", { nodeAffinity: { matchLabels: { zone: "z1" } } }), {}, undefined],
    [
      "node not selected",
      pool4("p", { nodeAffinity: { matchLabels: { zone: "z9" } } }),
      {},
      "nodeAffinity",
      /^unmatched Node affinity of IPPool p: expected zone=z9, found zone=z1$/,
    ],
    ["empty selectors", pool4("p", { nodeAffinity: {}, namespaceAffinity: {} }), {}, undefined],
    [
      "bad operator",
      pool4("p", { nodeAffinity: { matchExpressions: [{ key: "zone", operator: "Near" }] } }),
      {},
      "nodeAffinity",
      /not an operator/,
    ],
    ["namespace listed", pool4("p", { namespaceName: ["default"] }), {}, undefined],
    [
      "namespace not listed",
      pool4("p", { namespaceName: ["prod"] }),
      {},
      "namespaceName",
      /^unmatched Namespace name of IPPool p: expected prod, found default$/,
    ],
    [
      "namespace listed, affinity ignored",
      pool4("p", { namespaceName: ["default"], namespaceAffinity: { matchLabels: { team: "b" } } }),
      {},
      undefined,
    ],
    ["namespace selected", pool4("p", { namespaceAffinity: { matchLabels: { team: "a" } } }), {}, undefined],
    [
      "namespace not selected",
      pool4("p", { namespaceAffinity: { matchLabels: { team: "b" } } }),
      {},
      "namespaceAffinity",
      /^unmatched Namespace affinity of IPPool p: expected team=b, found team=a$/,
    ],
    ["node before namespace", pool4("p", { nodeName: ["n9"], namespaceName: ["prod"] }), {}, "nodeName"],
    ["Pod selected", pool4("p", { podAffinity: { matchLabels: { app: "web" } } }), {}, undefined],
    [
      "Pod not selected",
      pool4("p", { podAffinity: { matchLabels: { app: "db" } } }),
      {},
      "podAffinity",
      /^unmatched Pod affinity of IPPool p: expected app=db, found app=web$/,
    ],
    ["own application", pool4("p", { podAffinity: { matchLabels: application } }, auto), {}, undefined],
    [
      "own application, network and master not asked",
      pool4("p", { podAffinity: { matchLabels: application }, multusName: ["ns/x"] }, auto),
      { masterAddresses: [] },
      undefined,
    ],
    [
      "other application",
      pool4("p", { podAffinity: { matchLabels: { ...application, "ipam.spidernet.io/app-name": "db" } } }, auto),
      {},
      "podAffinity",
    ],
    [
      "application pool, bare Pod",
      pool4("p", { podAffinity: { matchLabels: application } }, auto),
      { owner: undefined },
      "podAffinity",
    ],
    [
      "pseudo-labels of a pool that is not automatic",
      pool4("p", { podAffinity: { matchLabels: application } }),
      {},
      "podAffinity",
    ],
    ["no network, none asked", pool4("p"), { netAttachDef: undefined }, undefined],
    ["network listed", pool4("p", { multusName: ["ns/a", "ns/b"] }), { netAttachDef: "ns/b" }, undefined],
    ["network by bare name", pool4("p", { multusName: ["b"] }), { netAttachDef: "spiderpool/b" }, undefined],
    [
      "network not listed",
      pool4("p", { multusName: ["ns/a", "b"] }),
      { netAttachDef: "ns/c" },
      "multusName",
      /^the spec\.multusName \[ns\/a spiderpool\/b\] of IPPool p is not matched with the multusCR ns\/c of NIC eth0$/,
    ],
    [
      "network asked, none there",
      pool4("p", { multusName: ["ns/a"] }),
      {},
      "multusName",
      /multusCR \(none\) of NIC eth0/,
    ],
    ["master in subnet", pool4("p"), { masterAddresses: [parseIp("fd00::1"), parseIp("10.6.9.9")] }, undefined],
    [
      "master elsewhere",
      pool4("p"),
      { masterAddresses: [parseIp("10.7.0.1")] },
      "masterSubnet",
      /^filterPoolCandidatesByPfSubnet: .* 10\.6\.0\.0\/16 of IPPool p, found 10\.7\.0\.1$/,
    ],
    [
      "master not asked where the network matched",
      pool4("p", { multusName: ["ns/a"] }),
      { netAttachDef: "ns/a", masterAddresses: [] },
      undefined,
    ],
  ];

  for (const [title, pool, change, check, sentence] of rows) {
    it(`${check === undefined ? "accepts" : "rejects"}: ${title}`, () => {
      const [decision] = decide(withPod(input([pool], change), ippool("p")));
      const [verdict] = decision?.steps ?? [];
      assert.ok(verdict);
      assert.equal(verdict.accepted ? undefined : verdict.check, check);
      if (sentence !== undefined) assert.match(formatVerdict(verdict), sentence);
      if (check === undefined) assert.equal(formatVerdict(verdict), "accepted IPPool p");
    });
  }

  it("has a row above for each check", () => {
    const seen = new Set(rows.map(([, , , check]) => check));
    for (const { id } of checks) assert.ok(seen.has(id), id);
  });

  it("gives advice for each check that failed, commonest first", () => {
    const pools = [pool4("a", { disable: true }), pool4("b", { nodeName: ["n9"] }), pool4("c", { nodeName: ["n9"] })];
    const [decision] = decide(withPod(input(pools), ippool("a", "b", "c")));
    assert.match(
      (decision && formatRefusal(decision)) ?? "",
      /filtered out: disabled IPPool a; .*What to do: add the node to spec\.nodeName .*; or set spec\.disable/,
    );
  });
});

describe("decide(): strict scope", () => {
  const settings = { enableSpiderSubnet: true, enableAutoPoolForApplication: true, enableStrictIPPoolScope: true };

  it("does not concern what the administrator names: the network's pools and the default ones", () => {
    const given = input([pool4("p", { default: true })], { settings });
    assert.deepEqual(candidates(decide(given)), ["p"]);
    const network = { pools: { 4: ["p"], 6: [] }, cleanGateway: false };
    assert.deepEqual(candidates(decide({ ...given, network })), ["p"]);
  });

  it("concerns what a Namespace names, too", () => {
    const given = input([pool4("p")], { settings });
    const namespace = { ...given.namespace, annotations: { [annotationKeys.defaultIpv4]: '["p"]' } };
    refusedWith(decide({ ...given, namespace }), "NO_POOL", /is for no namespace/);
  });
});
