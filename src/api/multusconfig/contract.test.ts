// Tables: what admission fills in, and every field that it refuses, for each type of network.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { annotations } from "../annotations.ts";
import { formatViolation } from "../rules/violation.ts";
import { multusConfig } from "../testing/objects.ts";
import { defaultMultusConfig } from "./defaults.ts";
import { validateMultusConfig } from "./rules.ts";
import type { SpiderMultusConfigSpec } from "./types.ts";

const noPools = { ipv4: [], ipv6: [] };
const master = ["eth1"];
const bond = { name: "bond0", mode: 1 };
const ofMaster = { master, vlanID: 0, mtu: 0, rdmaResourceName: "", ippools: noPools };

/** The smallest object of each type, and the object of its type after admission. */
const defaults: readonly (readonly [SpiderMultusConfigSpec, object])[] = [
  [{ cniType: "macvlan", macvlan: { master } }, { macvlan: ofMaster }],
  [{ cniType: "ipvlan", ipvlan: { master } }, { ipvlan: ofMaster }],
  [{ cniType: "vlan", vlan: { master } }, { vlan: { ...ofMaster, vlanMode: "manual" } }],
  [
    { cniType: "vlan", vlan: { master, vlanMode: "auto" } },
    { vlan: { master, mtu: 0, rdmaResourceName: "", ippools: noPools, vlanMode: "auto" } },
  ],
  [
    { cniType: "macvlan", macvlan: { master: ["a", "b"], bond, ippools: { ipv4: ["p"] } } },
    {
      macvlan: { ...ofMaster, master: ["a", "b"], bond: { ...bond, options: "" }, ippools: { ipv4: ["p"], ipv6: [] } },
    },
  ],
  [
    { cniType: "sriov", sriov: {} },
    {
      sriov: {
        resourceName: "",
        vlanID: 0,
        mtu: 0,
        minTxRateMbps: 0,
        maxTxRateMbps: 0,
        rdmaIsolation: false,
        ippools: { ...noPools, matchMasterSubnet: false },
      },
    },
  ],
  [
    { cniType: "ib-sriov", ibsriov: {} },
    {
      ibsriov: {
        resourceName: "",
        pkey: "",
        linkState: "enable",
        rdmaIsolation: true,
        enableIbKubernetes: false,
        ippools: noPools,
      },
    },
  ],
  [{ cniType: "ipoib", ipoib: { master: "ib0" } }, { ipoib: { master: "ib0", ippools: noPools } }],
  // Without a VLAN the port is a trunk.
  [{ cniType: "ovs", ovs: { bridge: "br1" } }, { ovs: { bridge: "br1", ippools: noPools } }],
];

const noted = (key: string, value = "x") => ({ [key]: value });
const { rdmaResourceInject: rdma, networkResourceInject: injected } = annotations;
const ipv4 = { ippools: { ipv4: ["p"] } };

/** What is refused, by the violation. */
const refused: readonly (readonly [string, SpiderMultusConfigSpec, Readonly<Record<string, string>>?])[] = [
  ...(["macvlan", "ipvlan", "vlan", "sriov"] as const).flatMap((type) => {
    const own = type === "sriov" ? { resourceName: "r/1" } : { master };
    const spec = (more: object) =>
      ({ cniType: type, [type]: { ...own, vlanID: 1, ...more } }) as SpiderMultusConfigSpec;
    return [
      ...([-1, 4095, 1.5] as const).map(
        (vlanID) =>
          [
            `spec.${type}.vlanID: Invalid value: ${vlanID}: must be between 0 and 4094, inclusive`,
            spec({ vlanID }),
          ] as const,
      ),
      [`spec.${type}.mtu: Invalid value: -1: must be greater than or equal to 0`, spec({ mtu: -1 })] as const,
      [
        `spec.${type}.mtu: Invalid value: 60: must be 0 or at least 68, the smallest MTU of a link`,
        spec({ mtu: 60 }),
      ] as const,
    ];
  }),
  ...(["macvlan", "ipvlan", "vlan"] as const).flatMap((type) => {
    const spec = (more: object) =>
      ({ cniType: type, [type]: { master, vlanID: 1, ...more } }) as SpiderMultusConfigSpec;
    return (
      [
        ["master: Required value: at least one interface", { master: [] }],
        ["master[1]: Required value: name an interface", { master: ["a", ""], bond }],
        ["bond.name: Required value: two or more masters are joined in a bond", { master: ["a", "b"] }],
        [
          "bond.name: Required value: two or more masters are joined in a bond",
          { master: ["a", "b"], bond: { name: "", mode: 1 } },
        ],
        [
          "ippools.matchMasterSubnet: Forbidden: only sriov networks can match the subnet of their master",
          { ippools: { matchMasterSubnet: true } },
        ],
      ] as const
    ).map(([text, more]) => [`spec.${type}.${text}`, spec(more)] as const);
  }),
  ["spec.vlan.vlanID: Required value: vlanMode is manual", { cniType: "vlan", vlan: { master } }],
  ["spec.vlan.vlanID: Forbidden: vlanMode is auto", { cniType: "vlan", vlan: { master, vlanMode: "auto", vlanID: 0 } }],
  ["spec.sriov.resourceName: Required value: name a resource", { cniType: "sriov", sriov: {} }],
  [
    "spec.sriov.minTxRateMbps: Invalid value: 3: must not be above maxTxRateMbps 2",
    { cniType: "sriov", sriov: { resourceName: "r/1", minTxRateMbps: 3, maxTxRateMbps: 2 } },
  ],
  ["spec.ibsriov.resourceName: Required value: name a resource", { cniType: "ib-sriov", ibsriov: {} }],
  ["spec.ipoib.master: Required value: name an interface", { cniType: "ipoib", ipoib: { master: "" } }],
  ...(["maxID", "id"] as const).map(
    (key) =>
      [
        `spec.ovs.trunk[0].${key}: Invalid value: 4095: must be between 0 and 4094, inclusive`,
        {
          cniType: "ovs",
          ovs: { bridge: "b", trunk: [{ minID: 1, maxID: 4094, [key]: 4095 }] },
        },
      ] as const,
  ),
  [
    "spec.ovs.trunk[0].maxID: Required value: minID is set",
    { cniType: "ovs", ovs: { bridge: "b", trunk: [{ minID: 5 }] } },
  ],
  [
    "spec.ovs.trunk[0].minID: Required value: maxID is set",
    { cniType: "ovs", ovs: { bridge: "b", trunk: [{ maxID: 5 }] } },
  ],
  ...["{", "", "[]", "7", '{"plugins":[]}', '{"type":7}'].map(
    (text) =>
      [
        `spec.chainCNIJsonData[0]: Invalid value: ${JSON.stringify(text)}: must be a JSON object with a non-empty 'type'`,
        { cniType: "ovs", ovs: { bridge: "b" }, chainCNIJsonData: [text] },
      ] as const,
  ),
  ...(["custom", "ovs"] as const).flatMap((cniType) =>
    [rdma, injected].map(
      (key) =>
        [
          `metadata.annotations[${key}]: Forbidden: networks of cniType ${cniType} have no resource`,
          cniType === "ovs" ? { cniType, ovs: { bridge: "b" } } : { cniType },
          noted(key),
        ] as const,
    ),
  ),
  ...(
    [
      ["macvlan", { master, rdmaResourceName: "r/1" }],
      ["ipvlan", { master, rdmaResourceName: "r/1" }],
      ["vlan", { master, vlanID: 1, rdmaResourceName: "r/1" }],
      ["sriov", { resourceName: "r/1" }],
      ["ib-sriov", { resourceName: "r/1" }],
      ["ipoib", { master: "ib0" }],
    ] as const
  ).flatMap(([cniType, own]) =>
    [rdma, injected].map(
      (key) =>
        [
          `metadata.annotations[${key}]: Required value: the network must name at least one IPv4 or IPv6 pool in ippools`,
          { cniType, [cniType.replace("-", "")]: own } as SpiderMultusConfigSpec,
          noted(key),
        ] as const,
    ),
  ),
  ...(["macvlan", "ipvlan", "vlan"] as const).map(
    (cniType) =>
      [
        `metadata.annotations[${rdma}]: Required value: the network must name a resource`,
        { cniType, [cniType]: { master, vlanID: 1, ...ipv4 } } as SpiderMultusConfigSpec,
        noted(rdma),
      ] as const,
  ),
  ...["0.1.0", "0.2.0", "1.1.0", ""].map(
    (version) =>
      [
        `metadata.annotations[${annotations.cniVersion}]: Unsupported value: ${JSON.stringify(version)}: supported values: "0.3.0", "0.3.1", "0.4.0", "1.0.0"`,
        { cniType: "ovs", ovs: { bridge: "b" } },
        noted(annotations.cniVersion, version),
      ] as const,
  ),
];

describe("admission of a SpiderMultusConfig", () => {
  for (const [spec, expected] of defaults) {
    test(`fills in ${JSON.stringify(spec)}`, () => {
      const admitted = defaultMultusConfig(multusConfig(spec)).spec;
      assert.deepEqual(admitted, { cniType: spec.cniType, ...expected, chainCNIJsonData: [] });
    });
  }

  for (const [said, spec, notes = {}] of refused) {
    test(`refuses ${JSON.stringify({ ...spec, ...notes })}`, () => {
      assert.deepEqual(validateMultusConfig(multusConfig(spec, { annotations: notes })).map(formatViolation), [said]);
    });
  }

  test("takes the versions of CNI that it can write, and a network to be injected that has what its key needs", () => {
    const valid: readonly (readonly [SpiderMultusConfigSpec, Readonly<Record<string, string>>])[] = [
      ...["0.3.0", "0.3.1", "0.4.0", "1.0.0"].map((version) => {
        return [{ cniType: "ovs", ovs: { bridge: "b" } }, noted(annotations.cniVersion, version)] as const;
      }),
      [{ cniType: "sriov", sriov: { resourceName: "r/1", ...ipv4 } }, noted(rdma)],
      [{ cniType: "ib-sriov", ibsriov: { resourceName: "r/1", ippools: { ipv6: ["p"] } } }, noted(injected)],
      [{ cniType: "ipoib", ipoib: { master: "ib0", ...ipv4 } }, noted(rdma)],
    ];
    for (const [spec, notes] of valid) {
      assert.deepEqual(validateMultusConfig(multusConfig(spec, { annotations: notes })), [], JSON.stringify(spec));
    }
  });
});
