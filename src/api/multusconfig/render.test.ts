import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hasCode } from "#base";
import { annotations } from "../annotations.ts";
import { multusConfig } from "../testing/objects.ts";
import { defaultMultusConfig } from "./defaults.ts";
import { renderNetwork } from "./render.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

/** The object as the controller sees it, after admission. */
function admitted(spec: SpiderMultusConfigSpec, notes: Readonly<Record<string, string>> = {}): SpiderMultusConfig {
  return defaultMultusConfig(multusConfig(spec, { name: "net", annotations: notes }));
}

const render = (spec: SpiderMultusConfigSpec, notes?: Readonly<Record<string, string>>) =>
  renderNetwork(admitted(spec, notes)).spec?.config;

const wrap = (...plugins: readonly string[]) => `{"cniVersion":"0.3.1","name":"net","plugins":[${plugins.join(",")}]}`;
const ipam = '"ipam":{"type":"spiderpool"}';
const alone = { enableCoordinator: false } as const;
const bond = { name: "bond0", mode: 1 };

/** Case, object, and the text of its configuration, byte for byte. */
const golden: readonly (readonly [string, SpiderMultusConfigSpec, string])[] = [
  [
    "macvlan on a VLAN, with pools and a coordinator whose values are set",
    {
      cniType: "macvlan",
      macvlan: { master: ["ens192"], vlanID: 120, ippools: { ipv4: ["v4-a"] } },
      coordinator: { mode: "auto", tunePodRoutes: true, txQueueLen: 0 },
    },
    wrap(
      '{"vlanID":120,"type":"ifacer","interfaces":["ens192"]}',
      '{"type":"macvlan","master":"ens192.120","mode":"bridge","mtu":0,"ipam":{"type":"spiderpool","default_ipv4_ippool":["v4-a"]}}',
      '{"txQueueLen":0,"tunePodRoutes":true,"mode":"auto","type":"coordinator"}',
    ),
  ],
  [
    "ovs on an access VLAN",
    { cniType: "ovs", ovs: { bridge: "br1", vlan: 10 }, ...alone },
    wrap(`{"vlan":10,"type":"ovs","bridge":"br1",${ipam}}`),
  ],
  [
    "ovs without a VLAN, which is a trunk and not the access VLAN 0",
    { cniType: "ovs", ovs: { bridge: "br1" } },
    wrap(`{"type":"ovs","bridge":"br1",${ipam}}`, '{"type":"coordinator"}'),
  ],
  [
    "ovs on the access VLAN 0, where the user says so",
    { cniType: "ovs", ovs: { bridge: "br1", vlan: 0 }, ...alone },
    wrap(`{"vlan":0,"type":"ovs","bridge":"br1",${ipam}}`),
  ],
  [
    "ovs with everything",
    {
      cniType: "ovs",
      ovs: { bridge: "br1", deviceID: "0000:01:00.1", trunk: [{ id: 3 }, { maxID: 9, minID: 5 }] },
      ...alone,
    },
    wrap(`{"type":"ovs","bridge":"br1","deviceID":"0000:01:00.1",${ipam},"trunk":[{"id":3},{"minID":5,"maxID":9}]}`),
  ],
  [
    "ovs with a VLAN beside a trunk, pools, a plugin chained and a coordinator",
    {
      cniType: "ovs",
      ovs: { bridge: "br-1", vlan: 4094, trunk: [{ id: 0 }], ippools: { ipv4: ["a"], ipv6: ["b", "c"] } },
      chainCNIJsonData: ['{"type":"sbr"}'],
      coordinator: { mode: "disabled" },
    },
    wrap(
      '{"vlan":4094,"type":"ovs","bridge":"br-1","ipam":{"type":"spiderpool","default_ipv4_ippool":["a"],"default_ipv6_ippool":["b","c"]},"trunk":[{"id":0}]}',
      '{"type":"sbr"}',
      '{"mode":"disabled","type":"coordinator"}',
    ),
  ],
  [
    "macvlan, minimal",
    { cniType: "macvlan", macvlan: { master: ["eth1"] }, ...alone },
    wrap(`{"type":"macvlan","master":"eth1","mode":"bridge","mtu":0,${ipam}}`),
  ],
  [
    "macvlan on one master with a bond, which changes nothing",
    { cniType: "macvlan", macvlan: { master: ["eth1"], bond }, ...alone },
    wrap(`{"type":"macvlan","master":"eth1","mode":"bridge","mtu":0,${ipam}}`),
  ],
  [
    "macvlan, maximal",
    {
      cniType: "macvlan",
      macvlan: {
        master: ["eth1", "eth2"],
        bond: { name: "bond0", mode: 6, options: "miimon=100" },
        vlanID: 4094,
        mtu: 1400,
        rdmaResourceName: "r/1",
        ippools: { ipv4: ["a"], ipv6: ["b"] },
      },
      chainCNIJsonData: ['{"type":"sbr"}'],
    },
    wrap(
      '{"vlanID":4094,"type":"ifacer","interfaces":["eth1","eth2"],"bond":{"name":"bond0","mode":6,"options":"miimon=100"}}',
      '{"type":"macvlan","master":"bond0.4094","mode":"bridge","mtu":1400,"ipam":{"type":"spiderpool","default_ipv4_ippool":["a"],"default_ipv6_ippool":["b"]}}',
      '{"type":"sbr"}',
      '{"type":"coordinator"}',
    ),
  ],
  [
    "macvlan on a bond without a VLAN",
    { cniType: "macvlan", macvlan: { master: ["eth1", "eth2"], bond }, ...alone },
    wrap(
      '{"type":"ifacer","interfaces":["eth1","eth2"],"bond":{"name":"bond0","mode":1,"options":""}}',
      `{"type":"macvlan","master":"bond0","mode":"bridge","mtu":0,${ipam}}`,
    ),
  ],
  [
    "ipvlan, minimal",
    { cniType: "ipvlan", ipvlan: { master: ["eth1"] } },
    wrap(`{"type":"ipvlan","master":"eth1","mtu":0,${ipam}}`, '{"type":"coordinator"}'),
  ],
  [
    "vlan, minimal",
    { cniType: "vlan", vlan: { master: ["eth1"], vlanID: 120 } },
    wrap(`{"type":"vlan","master":"eth1","vlanMode":"manual","vlanId":120,"mtu":0,${ipam}}`, '{"type":"coordinator"}'),
  ],
  [
    "vlan with an MTU, pools, a plugin chained and a bond's options",
    {
      cniType: "vlan",
      vlan: {
        master: ["eth1", "eth2"],
        bond: { name: "bond0", mode: 4, options: "lacp_rate=1" },
        vlanID: 1,
        vlanMode: "manual",
        mtu: 9000,
        rdmaResourceName: "r/1",
        ippools: { ipv4: ["a"], ipv6: ["b"] },
      },
      chainCNIJsonData: ['{"type":"sbr"}'],
    },
    wrap(
      '{"type":"ifacer","interfaces":["eth1","eth2"],"bond":{"name":"bond0","mode":4,"options":"lacp_rate=1"}}',
      '{"type":"vlan","master":"bond0","vlanMode":"manual","vlanId":1,"mtu":9000,"ipam":{"type":"spiderpool","default_ipv4_ippool":["a"],"default_ipv6_ippool":["b"]}}',
      '{"type":"sbr"}',
      '{"type":"coordinator"}',
    ),
  ],
  [
    "ib-sriov, maximal",
    {
      cniType: "ib-sriov",
      ibsriov: {
        resourceName: "spidernet.io/ib",
        pkey: "0x7fff",
        linkState: "auto",
        rdmaIsolation: false,
        enableIbKubernetes: true,
        ippools: { ipv6: ["c"] },
      },
      chainCNIJsonData: ['{"type":"sbr"}'],
    },
    wrap(
      '{"type":"ib-sriov","pkey":"0x7fff","link_state":"auto","rdmaIsolation":false,"ibKubernetesEnabled":true,"ipam":{"type":"spiderpool","default_ipv6_ippool":["c"]}}',
      '{"type":"sbr"}',
      '{"type":"coordinator"}',
    ),
  ],
  [
    "ipvlan on a VLAN of a bond",
    {
      cniType: "ipvlan",
      ipvlan: { master: ["eth1", "eth2"], bond: { ...bond, options: "miimon=100" }, vlanID: 7, mtu: 9000 },
      ...alone,
    },
    wrap(
      '{"vlanID":7,"type":"ifacer","interfaces":["eth1","eth2"],"bond":{"name":"bond0","mode":1,"options":"miimon=100"}}',
      `{"type":"ipvlan","master":"bond0.7","mtu":9000,${ipam}}`,
    ),
  ],
  [
    "vlan on a bond, whose VLAN the plugin makes itself",
    { cniType: "vlan", vlan: { master: ["eth1", "eth2"], bond, vlanID: 7 }, ...alone },
    wrap(
      '{"type":"ifacer","interfaces":["eth1","eth2"],"bond":{"name":"bond0","mode":1,"options":""}}',
      `{"type":"vlan","master":"bond0","vlanMode":"manual","vlanId":7,"mtu":0,${ipam}}`,
    ),
  ],
  [
    "vlan whose ID a provider says",
    { cniType: "vlan", vlan: { master: ["eth1"], vlanMode: "auto" }, ...alone },
    wrap(`{"type":"vlan","master":"eth1","vlanMode":"auto","mtu":0,${ipam}}`),
  ],
  [
    "sriov, minimal",
    { cniType: "sriov", sriov: { resourceName: "spidernet.io/sriov" }, ...alone },
    wrap(`{"vlan":0,"min_tx_rate":0,"max_tx_rate":0,"type":"sriov",${ipam}}`),
  ],
  [
    "sriov with everything: rdma after it, chained plugins before the coordinator, tuning last",
    {
      cniType: "sriov",
      sriov: {
        resourceName: "spidernet.io/sriov",
        vlanID: 5,
        mtu: 1500,
        minTxRateMbps: 1,
        maxTxRateMbps: 2,
        rdmaIsolation: true,
        ippools: { ipv4: ["a", "b"], ipv6: ["c"], matchMasterSubnet: true },
      },
      chainCNIJsonData: ['{"type":"z","b":{"d":[{"y":1,"x":2}],"c":1}}', '{ "type": "a" }'],
    },
    wrap(
      '{"vlan":5,"min_tx_rate":1,"max_tx_rate":2,"type":"sriov","ipam":{"type":"spiderpool","default_ipv4_ippool":["a","b"],"default_ipv6_ippool":["c"],"match_master_subnet":true}}',
      '{"type":"rdma"}',
      '{"b":{"c":1,"d":[{"x":2,"y":1}]},"type":"z"}',
      '{"type":"a"}',
      '{"type":"coordinator"}',
      '{"type":"tuning","mtu":1500}',
    ),
  ],
  [
    "ib-sriov",
    { cniType: "ib-sriov", ibsriov: { resourceName: "spidernet.io/ib", pkey: "0x1" }, ...alone },
    wrap(
      `{"type":"ib-sriov","pkey":"0x1","link_state":"enable","rdmaIsolation":true,"ibKubernetesEnabled":false,${ipam}}`,
    ),
  ],
  ["ipoib", { cniType: "ipoib", ipoib: { master: "ib0" }, ...alone }, wrap(`{"type":"ipoib","master":"ib0",${ipam}}`)],
  [
    "ipoib with pools and a plugin chained",
    {
      cniType: "ipoib",
      ipoib: { master: "ib0", ippools: { ipv4: ["a"], ipv6: ["b"] } },
      chainCNIJsonData: ['{"type":"sbr"}'],
    },
    wrap(
      '{"type":"ipoib","master":"ib0","ipam":{"type":"spiderpool","default_ipv4_ippool":["a"],"default_ipv6_ippool":["b"]}}',
      '{"type":"sbr"}',
      '{"type":"coordinator"}',
    ),
  ],
  [
    "a network without addresses",
    { cniType: "macvlan", macvlan: { master: ["eth1"] }, disableIPAM: true, ...alone },
    wrap('{"type":"macvlan","master":"eth1","mode":"bridge","mtu":0}'),
  ],
  [
    "a coordinator with everything",
    {
      cniType: "ipoib",
      ipoib: { master: "ib0" },
      coordinator: {
        mode: "underlay",
        podCIDRType: "none",
        hijackCIDR: ["10.0.0.0/8"],
        policyRoutes: [{ gw: "10.0.0.1", dst: "10.1.0.0/16" }],
        podMACPrefix: "0a:1b",
        tunePodRoutes: false,
        podDefaultRouteNIC: "net1",
        hostRuleTable: 500,
        podRPFilter: 0,
        txQueueLen: 1000,
        vethLinkAddress: "169.254.0.1",
        vethMTU: 1400,
      },
    },
    wrap(
      `{"type":"ipoib","master":"ib0",${ipam}}`,
      '{"txQueueLen":1000,"vethLinkAddress":"169.254.0.1","vethMTU":1400,"tunePodRoutes":false,"podMACPrefix":"0a:1b","mode":"underlay","type":"coordinator","podDefaultRouteNic":"net1","podRPFilter":0,"hijackCIDR":["10.0.0.0/8"],"policyRoutes":[{"dst":"10.1.0.0/16","gw":"10.0.0.1"}]}',
    ),
  ],
  ["custom", { cniType: "custom", customCNI: '{ "type":"x" }' }, '{ "type":"x" }'],
];

describe("renderNetwork", () => {
  for (const [what, spec, text] of golden) test(what, () => assert.equal(render(spec), text));

  test("empty custom text gives an empty spec, so that the node's files decide", () => {
    assert.deepEqual(renderNetwork(admitted({})).spec, {});
  });

  test("annotations choose the network's name, the configuration's name and the version", () => {
    const notes = { [annotations.networkName]: "k8s-pod-network", [annotations.cniVersion]: "1.0.0" };
    const spec: SpiderMultusConfigSpec = { cniType: "ipoib", ipoib: { master: "ib0" }, ...alone };
    assert.equal(renderNetwork(admitted(spec, notes)).metadata.name, "k8s-pod-network");
    assert.match(render(spec, notes) ?? "", /^\{"cniVersion":"1.0.0","name":"k8s-pod-network",/);
    assert.match(render(spec, { ...notes, [annotations.cniConfigName]: "other" }) ?? "", /"name":"other",/);
  });

  test("the network has its SpiderMultusConfig as controller and its annotations, but not kubectl's last-applied one", () => {
    const notes = { team: "net", "kubectl.kubernetes.io/last-applied-configuration": "{}" };
    assert.deepEqual(renderNetwork(admitted({ cniType: "ovs", ovs: { bridge: "br1" } }, notes)).metadata, {
      name: "net",
      namespace: "kube-system",
      annotations: { team: "net" },
      ownerReferences: [
        {
          apiVersion: "spiderpool.spidernet.io/v2beta1",
          kind: "SpiderMultusConfig",
          name: "net",
          uid: "uid-of-ovs-conf",
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    });
  });

  test("networks that give the Pod a device name its resource", () => {
    const resource = (spec: SpiderMultusConfigSpec) =>
      renderNetwork(admitted(spec)).metadata.annotations?.[annotations.resourceName];
    assert.equal(resource({ cniType: "sriov", sriov: { resourceName: "a/b" } }), "a/b");
    assert.equal(resource({ cniType: "ib-sriov", ibsriov: { resourceName: "a/c" } }), "a/c");
    assert.equal(
      resource({ cniType: "ovs", ovs: { bridge: "br1", deviceID: "0000:01:00.1" } }),
      "ovs-cni.network.kubevirt.io/br1",
    );
    assert.equal(resource({ cniType: "ovs", ovs: { bridge: "br1" } }), undefined);
    assert.equal(resource({ cniType: "macvlan", macvlan: { master: ["a"], rdmaResourceName: "a/d" } }), undefined);
  });

  test("an object stored without the block of its type is refused by name", () => {
    const broken = multusConfig({ cniType: "macvlan" });
    assert.throws(
      () => renderNetwork(broken),
      (error) => hasCode(error, "MULTUS_CONFIG_INVALID") && error.details["name"] === "ovs-conf",
    );
  });
});
