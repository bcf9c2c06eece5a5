/** Build time only: TypeBox is not part of the programs. */
import { Type } from "typebox";
import { coordinatorBlock } from "../coordinator/schema.ts";
import { celOf } from "../rules/rule.ts";
import { flag, integer, text, texts, validations, word } from "../schema/fields.ts";
import { definitionOf } from "../schema/ours.ts";
import { multusConfigRules } from "./rules.ts";
import { spiderMultusConfigs } from "./types.ts";

const cniTypes = ["macvlan", "ipvlan", "vlan", "sriov", "ovs", "ib-sriov", "ipoib", "custom"] as const;
const vlanId = { minimum: 0, maximum: 4094 };

const pools = Type.Optional(
  Type.Object(
    {
      ipv4: Type.Optional(texts("IPv4 pools of this network, names or patterns.")),
      ipv6: Type.Optional(texts("IPv6 pools of this network, names or patterns.")),
      matchMasterSubnet: Type.Optional(flag("Only pools of the subnet that the VF's PF is in (sriov).", false)),
    },
    { description: "Pools of Pods on this network that name none themselves." },
  ),
);

const bond = Type.Optional(
  Type.Object(
    {
      name: text("Name of the bond interface."),
      mode: integer("Bonding mode of the kernel.", { minimum: 0, maximum: 6 }),
      options: Type.Optional(text("Further options of the kernel, `name=value;name=value`.")),
    },
    { description: "The bond that two or more masters are joined in." },
  ),
);

const masterFields = {
  master: texts("Interfaces of the node; two or more are joined in `bond`."),
  mtu: Type.Optional(integer("MTU of the Pod's NIC; 0 takes the master's.", { minimum: 0, default: 0 })),
  vlanID: Type.Optional(integer("VLAN of the Pods; 0 is untagged.", vlanId)),
  bond,
  rdmaResourceName: Type.Optional(text("Resource that Pods on this network ask for, for RDMA.")),
  ippools: pools,
};

const sriov = Type.Object({
  resourceName: Type.Optional(text("Resource of the SR-IOV device plugin; required.")),
  vlanID: Type.Optional(integer("VLAN of the VF; 0 is untagged.", vlanId)),
  mtu: Type.Optional(integer("MTU of the Pod's NIC; 0 leaves it.", { minimum: 0, default: 0 })),
  minTxRateMbps: Type.Optional(integer("Lowest transmit rate, Mbit/s.", { minimum: 0 })),
  maxTxRateMbps: Type.Optional(integer("Highest transmit rate, Mbit/s.", { minimum: 0 })),
  rdmaIsolation: Type.Optional(flag("Moves the RDMA device into the Pod.", false)),
  ippools: pools,
});

const ibsriov = Type.Object({
  resourceName: Type.Optional(text("Resource of the SR-IOV device plugin; required.")),
  pkey: Type.Optional(text("Partition key.")),
  linkState: Type.Optional(word("State of the VF's link.", ["auto", "enable", "disable"], { default: "enable" })),
  rdmaIsolation: Type.Optional(flag("Moves the RDMA device into the Pod.", true)),
  enableIbKubernetes: Type.Optional(flag("Uses ib-kubernetes for the GUIDs.", false)),
  ippools: pools,
});

const ovs = Type.Object({
  bridge: text("Bridge of Open vSwitch on the node."),
  vlan: Type.Optional(integer("Access VLAN; absent: the port carries all VLANs.", vlanId)),
  trunk: Type.Optional(
    Type.Array(
      Type.Object({
        minID: Type.Optional(integer("First VLAN of a range.", vlanId)),
        maxID: Type.Optional(integer("Last VLAN of a range.", vlanId)),
        id: Type.Optional(integer("A single VLAN.", vlanId)),
      }),
      { description: "VLANs that the port carries.", maxItems: 4095 },
    ),
  ),
  deviceID: Type.Optional(text("PCI address of a VF, for hardware offload.")),
  ippools: pools,
});

/** `spec`: a plugin, one block of settings for it, and the coordinator's overrides. */
export const multusConfigSpec = Type.Object(
  {
    cniType: Type.Optional(word("The plugin that makes the Pod's NIC.", cniTypes, { default: "custom" })),
    macvlan: Type.Optional(Type.Object(masterFields)),
    ipvlan: Type.Optional(Type.Object(masterFields)),
    vlan: Type.Optional(
      Type.Object({
        ...masterFields,
        vlanMode: Type.Optional(
          word("manual: vlanID is the VLAN; auto: the IaaS provider says it.", ["manual", "auto"], {
            default: "manual",
          }),
        ),
      }),
    ),
    sriov: Type.Optional(sriov),
    ovs: Type.Optional(ovs),
    ibsriov: Type.Optional(ibsriov),
    ipoib: Type.Optional(Type.Object({ master: text("Interface of the node."), ippools: pools })),
    customCNI: Type.Optional(
      text("CNI configuration as JSON text, for cniType custom; empty leaves it to the node's files."),
    ),
    enableCoordinator: Type.Optional(flag("Chains the coordinator.", true)),
    disableIPAM: Type.Optional(flag("The NIC gets no address.", false)),
    coordinator: Type.Optional(coordinatorBlock),
    chainCNIJsonData: Type.Optional(texts("Further plugins, each as JSON text, in order.")),
  },
  validations(celOf(multusConfigRules)),
);

/** The CRD's parts. */
export const multusConfigDefinition = definitionOf(spiderMultusConfigs, "smc", {
  description: "A network in typed form, rendered into a NetworkAttachmentDefinition.",
  spec: multusConfigSpec,
  required: ["spec"],
  statusSubresource: false,
  columns: [],
});
