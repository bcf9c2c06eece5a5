import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { annotations } from "../annotations.ts";
import { formatViolation } from "../rules/violation.ts";
import { meta, multusConfig } from "../testing/objects.ts";
import { defaultMultusConfig } from "./defaults.ts";
import { type MultusConfigContext, multusConfigRules, validateMultusConfig, warnOfMultusConfig } from "./rules.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

const ovs = { cniType: "ovs", ovs: { bridge: "br1" } } as const satisfies SpiderMultusConfigSpec;
const noted = (key: string, value: string, spec: SpiderMultusConfigSpec = ovs) =>
  multusConfig(spec, { annotations: { [key]: value } });

/** For each rule an object that breaks it, and all violations of that object. */
const broken: Readonly<Record<string, readonly [SpiderMultusConfig, MultusConfigContext, ...string[]]>> = {
  "network-name-immutable": [
    noted(annotations.networkName, "b"),
    { old: multusConfig(ovs) },
    "metadata.annotations[multus.spidernet.io/cr-name]: Forbidden: is not changeable",
  ],
  "network-name-valid": [
    noted(annotations.networkName, "A"),
    {},
    'metadata.annotations[multus.spidernet.io/cr-name]: Invalid value: "A": must be a lowercase RFC 1123 subdomain',
  ],
  "network-not-taken": [
    multusConfig(ovs),
    {
      network: {
        metadata: meta("ovs-conf", {
          namespace: "kube-system",
          ownerReferences: [{ apiVersion: "v", kind: "SpiderMultusConfig", name: "other", uid: "u" }],
        }),
      },
    },
    'metadata.name: Invalid value: "ovs-conf": NetworkAttachmentDefinition kube-system/ovs-conf already exists and is managed by SpiderMultusConfig other',
  ],
  "cni-version": [
    noted(annotations.cniVersion, "2.0.0"),
    {},
    'metadata.annotations[multus.spidernet.io/cni-version]: Unsupported value: "2.0.0": supported values: "0.3.0", "0.3.1", "0.4.0", "1.0.0"',
  ],
  "cni-config-name": [
    noted(annotations.cniConfigName, "../x"),
    {},
    "metadata.annotations[cni.spidernet.io/cniconfig-name]: Invalid value: \"../x\": must begin with a letter or digit, followed by letters, digits, '_', '.' and '-'",
  ],
  "type-described": [
    multusConfig({ cniType: "macvlan", ovs: { bridge: "br1" } }),
    {},
    "spec.macvlan: Required value: cniType is macvlan",
    "spec.cniType: Forbidden: spec.ovs is set, but cniType is macvlan",
  ],
  "vlan-range": [
    multusConfig({ cniType: "ovs", ovs: { bridge: "br1", vlan: 4095 } }),
    {},
    "spec.ovs.vlan: Invalid value: 4095: must be between 0 and 4094, inclusive",
  ],
  "mtu-range": [
    multusConfig({ cniType: "macvlan", macvlan: { master: ["a"], mtu: -1 } }),
    {},
    "spec.macvlan.mtu: Invalid value: -1: must be greater than or equal to 0",
  ],
  masters: [
    multusConfig({ cniType: "macvlan", macvlan: { master: ["a", "b"] } }),
    {},
    "spec.macvlan.bond.name: Required value: two or more masters are joined in a bond",
  ],
  "vlan-mode": [
    multusConfig({ cniType: "vlan", vlan: { master: ["a"], vlanMode: "auto", vlanID: 1 } }),
    {},
    "spec.vlan.vlanID: Forbidden: vlanMode is auto",
  ],
  "sriov-rates": [
    multusConfig({ cniType: "sriov", sriov: { resourceName: "a/b", minTxRateMbps: 5 } }),
    {},
    "spec.sriov.minTxRateMbps: Invalid value: 5: must not be above maxTxRateMbps 0",
  ],
  "resource-name": [
    multusConfig({ cniType: "ib-sriov", ibsriov: {} }),
    {},
    "spec.ibsriov.resourceName: Required value: name a resource",
  ],
  "ovs-bridge": [
    multusConfig({ cniType: "ovs", ovs: { bridge: "" } }),
    {},
    "spec.ovs.bridge: Required value: name a bridge",
  ],
  "ovs-trunk": [
    multusConfig({
      cniType: "ovs",
      ovs: { bridge: "br1", trunk: [{ maxID: 5 }, { minID: 5, maxID: 4 }, { id: 4095 }] },
    }),
    {},
    "spec.ovs.trunk[0].minID: Required value: maxID is set",
    "spec.ovs.trunk[1].maxID: Invalid value: 4: must not be below minID 5",
    "spec.ovs.trunk[2].id: Invalid value: 4095: must be between 0 and 4094, inclusive",
  ],
  "match-master-subnet": [
    multusConfig({ cniType: "ipvlan", ipvlan: { master: ["a"], ippools: { matchMasterSubnet: true } } }),
    {},
    "spec.ipvlan.ippools.matchMasterSubnet: Forbidden: only sriov networks can match the subnet of their master",
  ],
  "resource-injection": [
    noted(annotations.rdmaResourceInject, "x", { cniType: "macvlan", macvlan: { master: ["a"] } }),
    {},
    "metadata.annotations[cni.spidernet.io/rdma-resource-inject]: Required value: the network must name a resource",
    "metadata.annotations[cni.spidernet.io/rdma-resource-inject]: Required value: the network must name at least one IPv4 or IPv6 pool in ippools",
  ],
  "custom-json": [
    multusConfig({ cniType: "custom", customCNI: "{" }),
    {},
    'spec.customCNI: Invalid value: "{": must be valid JSON',
  ],
  "chain-json": [
    multusConfig({ ...ovs, chainCNIJsonData: ['{"type":"a"}', '{"type":""}'] }),
    {},
    'spec.chainCNIJsonData[1]: Invalid value: "{\\"type\\":\\"\\"}": must be a JSON object with a non-empty \'type\'',
  ],
};

describe("the rules of SpiderMultusConfigs", () => {
  for (const { id } of multusConfigRules) {
    test(`${id} refuses an object that breaks it, with these violations only`, () => {
      const [wrong, context, ...said] = broken[id] ?? assert.fail(`no case for ${id}`);
      assert.deepEqual(validateMultusConfig(wrong, context).map(formatViolation), said);
    });
  }

  test("valid objects of every type are admitted", () => {
    const pools = { ippools: { ipv4: ["a"] } };
    const good: readonly SpiderMultusConfigSpec[] = [
      ovs,
      { ...ovs, ovs: { bridge: "br1", trunk: [{ id: 4094 }, { minID: 5, maxID: 5 }] } },
      { cniType: "macvlan", macvlan: { master: ["a"], bond: { name: "b", mode: 1 } } },
      { cniType: "ipvlan", ipvlan: { master: ["a", "b"], bond: { name: "b", mode: 1 } } },
      { cniType: "vlan", vlan: { master: ["a"] } },
      { cniType: "vlan", vlan: { master: ["a"], vlanMode: "auto" } },
      { cniType: "sriov", sriov: { resourceName: "a/b", minTxRateMbps: 5, maxTxRateMbps: 5 } },
      { cniType: "ib-sriov", ibsriov: { resourceName: "a/b" } },
      { cniType: "ipoib", ipoib: { master: "ib0" } },
      { cniType: "custom", customCNI: "[]" },
      {},
    ];
    const taken = { metadata: meta("ovs-conf", { namespace: "kube-system" }) };
    for (const spec of good) {
      const admitted = defaultMultusConfig(multusConfig(spec));
      assert.deepEqual(validateMultusConfig(admitted, { network: taken }), [], JSON.stringify(spec));
      assert.deepEqual(defaultMultusConfig(admitted), admitted);
    }
    const rdma = { cniType: "macvlan", macvlan: { master: ["a"], rdmaResourceName: "a/b", ...pools } } as const;
    assert.deepEqual(validateMultusConfig(noted(annotations.rdmaResourceInject, "x", rdma)), []);
    const plain = { cniType: "macvlan", macvlan: { master: ["a"] } } as const;
    assert.deepEqual(validateMultusConfig(noted(annotations.networkResourceInject, "x", plain)), []);
  });

  test("the network's name may be set at creation and removed, but neither changed nor added later", () => {
    const old = noted(annotations.networkName, "b");
    assert.deepEqual(validateMultusConfig(old), []);
    for (const before of [noted(annotations.networkName, "a"), multusConfig(ovs)]) {
      assert.match(
        validateMultusConfig(old, { old: before }).map(formatViolation).join(),
        /Forbidden: is not changeable$/,
      );
    }
    assert.deepEqual(validateMultusConfig(multusConfig(ovs), { old }), []);
    assert.deepEqual(
      validateMultusConfig(noted(annotations.networkName, "b", { ...ovs, disableIPAM: true }), { old }),
      [],
    );
  });

  test("networks of ovs cannot be injected; their coordinator is checked at its own path", () => {
    assert.deepEqual(validateMultusConfig(noted(annotations.networkResourceInject, "x")).map(formatViolation), [
      "metadata.annotations[cni.spidernet.io/network-resource-inject]: Forbidden: networks of cniType ovs have no resource",
    ]);
    assert.deepEqual(
      validateMultusConfig(multusConfig({ ...ovs, coordinator: { txQueueLen: -1 } })).map(formatViolation),
      ["spec.coordinator.txQueueLen: Invalid value: -1: must be greater than or equal to 0"],
    );
  });

  test("an injection's name must be a valid label value, in a sentence about the annotation", () => {
    const plain = { cniType: "macvlan", macvlan: { master: ["a"] } } as const;
    const wrong = noted(annotations.networkResourceInject, "two words", plain);
    assert.equal(defaultMultusConfig(wrong).metadata.labels, undefined);
    assert.match(
      validateMultusConfig(defaultMultusConfig(wrong)).map(formatViolation).join(),
      /^metadata.annotations\[cni.spidernet.io\/network-resource-inject\]: Invalid value: "two words": a valid label/,
    );
    const nameless = validateMultusConfig(noted(annotations.networkResourceInject, "", plain));
    assert.match(nameless.map(formatViolation).join(), /Required value: Pods choose networks by this value/);
  });

  test("each type refuses the object of every other type beside its own", () => {
    const described: Readonly<Record<string, SpiderMultusConfigSpec>> = {
      macvlan: { macvlan: { master: ["a"] } },
      ipvlan: { ipvlan: { master: ["a"] } },
      vlan: { vlan: { master: ["a"], vlanID: 1 } },
      sriov: { sriov: { resourceName: "a/b" } },
      ovs: { ovs: { bridge: "br1" } },
      "ib-sriov": { ibsriov: { resourceName: "a/b" } },
      ipoib: { ipoib: { master: "ib0" } },
      custom: {},
    };
    for (const [cniType, own] of Object.entries(described)) {
      for (const [other, foreign] of Object.entries(described)) {
        const spec = { ...own, ...foreign, cniType } as SpiderMultusConfigSpec;
        const said = validateMultusConfig(multusConfig(spec)).map(formatViolation);
        const isMixed = other !== cniType && other !== "custom";
        assert.equal(said.length, isMixed ? 1 : 0, `${cniType} with ${other}: ${said}`);
        if (isMixed) assert.match(said[0] ?? "", /^spec.cniType: Forbidden: spec\.\w+ is set, but cniType is /);
      }
    }
  });

  test("text without effect, or from which no plugin can start, causes a warning", () => {
    const warned = (spec: SpiderMultusConfigSpec) => warnOfMultusConfig(multusConfig(spec)).join();
    assert.match(warned({ customCNI: "[]" }), /^spec.customCNI: no plugin/);
    assert.match(warned({ customCNI: '{"plugins":[]}' }), /^spec.customCNI: no plugin/);
    assert.equal(warned({ customCNI: '{"type":"x"}' }), "");
    assert.equal(warned({ customCNI: '{"plugins":[{"type":"x"}]}' }), "");
    const ipam = { type: "spiderpool", log_level: "debug", ipam_unix_socket_path: "/x", clean_gateway: true };
    assert.match(
      warned({ customCNI: JSON.stringify({ plugins: [{ type: "macvlan", ipam }, { type: "y" }, 5] }) }),
      /^spec.customCNI: log_level, ipam_unix_socket_path of the ipam block have no effect/,
    );
    assert.match(warned({ chainCNIJsonData: ['{"type":"x"}'] }), /^spec.chainCNIJsonData: has no effect/);
    assert.match(warned({ ...ovs, customCNI: "{}" }), /^spec.customCNI: has no effect with cniType ovs/);
  });

  test("a configuration that our plugins would refuse causes a warning", () => {
    const device = { cniType: "ovs", ovs: { bridge: "br1", deviceID: "0000:01:00.1" } } as const;
    assert.match(warnOfMultusConfig(multusConfig(device)).join(), /^spec.ovs.deviceID: /);
    const auto = { cniType: "vlan", vlan: { master: ["a"], vlanMode: "auto" } } as const;
    assert.match(warnOfMultusConfig(multusConfig(auto)).join(), /^spec.vlan.vlanMode: /);
  });

  test("fields of a coordinator without effect cause a warning", () => {
    const warned = (spec: SpiderMultusConfigSpec) => warnOfMultusConfig(multusConfig({ ...ovs, ...spec })).join();
    assert.match(
      warned({ coordinator: { mode: "auto" }, enableCoordinator: false }),
      /^spec.coordinator: has no effect/,
    );
    assert.match(warned({ coordinator: { hostRuleTable: 7 } }), /^spec.coordinator.hostRuleTable: has no effect/);
    assert.equal(warned({ coordinator: { mode: "auto", txQueueLen: 7 } }), "");
  });

  test("a network without addresses causes a warning", () => {
    assert.equal(warnOfMultusConfig(multusConfig(ovs)).length, 0);
    assert.equal(warnOfMultusConfig(multusConfig({ ...ovs, disableIPAM: true })).length, 1);
    const both = { cniType: "ipvlan", ipvlan: { master: ["a"] }, disableIPAM: true } as const;
    assert.equal(warnOfMultusConfig(multusConfig(both)).length, 2);
    const disabled = { ...ovs, disableIPAM: true, coordinator: { mode: "disabled" } } as const;
    assert.deepEqual(warnOfMultusConfig(multusConfig(disabled)), []);
  });
});

describe("defaultMultusConfig", () => {
  test("does not fill in fields whose absence means something: the VLAN of ovs and the coordinator's values", () => {
    assert.deepEqual(defaultMultusConfig(multusConfig(ovs)).spec, {
      cniType: "ovs",
      ovs: { bridge: "br1", ippools: { ipv4: [], ipv6: [] } },
      chainCNIJsonData: [],
    });
  });

  test("a custom network has no coordinator", () => {
    assert.deepEqual(defaultMultusConfig(multusConfig({ coordinator: { mode: "auto" } })).spec, {
      cniType: "custom",
      customCNI: "",
      enableCoordinator: false,
      chainCNIJsonData: [],
    });
  });

  test("a custom network that becomes a typed one gets a coordinator, unless the user refused it", () => {
    const old = multusConfig({ cniType: "custom", customCNI: "", enableCoordinator: false });
    const filled = { ...ovs, customCNI: "", enableCoordinator: false };
    const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";
    const enabled = (config: SpiderMultusConfig, before = old) =>
      defaultMultusConfig(config, before).spec.enableCoordinator;
    assert.equal(enabled(multusConfig(filled)), true);
    const applied = (spec: object) =>
      multusConfig(filled, { annotations: { [lastApplied]: JSON.stringify({ spec }) } });
    assert.equal(enabled(applied(ovs)), true);
    assert.equal(enabled(applied({ ...ovs, enableCoordinator: false })), false);
    const owned = { operation: "Apply", fieldsV1: { "f:spec": { "f:enableCoordinator": {} } } };
    const config = multusConfig(filled);
    assert.equal(enabled({ ...config, metadata: Object.assign(config.metadata, { managedFields: [owned] }) }), false);
    assert.equal(enabled(multusConfig(filled), multusConfig(filled)), false);
  });

  test("labels follow the annotations by which networks are found, also when they are removed", () => {
    const { networkResourceInject: inject } = annotations;
    const labelled = defaultMultusConfig(noted(inject, "x"));
    assert.deepEqual(labelled.metadata.labels, { [inject]: "x" });
    const gone = {
      ...labelled,
      metadata: { ...labelled.metadata, annotations: {}, labels: { a: "b", [inject]: "x" } },
    };
    assert.deepEqual(defaultMultusConfig(gone).metadata.labels, { a: "b" });
  });
});
