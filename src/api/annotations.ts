/**
 * Every annotation key that the system writes or reads, in one table. Values are text; JSON where it says so. Each comment
 * is `objects that have it[, form]: what it means`: docs/reference/annotations.md is made of them.
 */
export const annotations = {
  /** Pod, JSON `{"ipv4":[…],"ipv6":[…]}`: pools of whichever NIC is being made. */
  ippool: "ipam.spidernet.io/ippool",
  /** Pod, JSON `[{"interface":"eth0","ipv4":[…],"ipv6":[…],"cleangateway":false}]`: pools for each NIC; wins over `ippool`. */
  ippools: "ipam.spidernet.io/ippools",
  /** Pod, JSON `[{"dst":"10.0.0.0/16","gw":"192.168.1.1"}]`: further routes. */
  routes: "ipam.spidernet.io/routes",
  /** Pod template, JSON `{"ipv4":["s4"],"ipv6":["s6"]}`: subnets from which the application's pools are cut. */
  subnet: "ipam.spidernet.io/subnet",
  /** Pod template, JSON `[{"interface":"eth0","ipv4":[…],"ipv6":[…]}]`: subnets for each NIC; wins over `subnet`. */
  subnets: "ipam.spidernet.io/subnets",
  /** Pod template and pools made for an application: `N` addresses, or `+N` more than replicas. */
  poolIpNumber: "ipam.spidernet.io/ippool-ip-number",
  /** Pod template: whether the application's pools go with it. */
  poolReclaim: "ipam.spidernet.io/ippool-reclaim",
  /** Pod: the NIC that has the default route: one of the Pod's, where it has several. */
  defaultRouteNic: "ipam.spidernet.io/default-route-nic",
  /** Namespace, JSON array: IPv4 pools of its Pods. */
  defaultIpv4Pools: "ipam.spidernet.io/default-ipv4-ippool",
  /** Namespace, JSON array: IPv6 pools of its Pods. */
  defaultIpv6Pools: "ipam.spidernet.io/default-ipv6-ippool",
  /** SpiderMultusConfig: the name of its NetworkAttachmentDefinition. */
  networkName: "multus.spidernet.io/cr-name",
  /** SpiderMultusConfig: `cniVersion` of the configuration. */
  cniVersion: "multus.spidernet.io/cni-version",
  /** SpiderMultusConfig: `name` of the configuration. */
  cniConfigName: "cni.spidernet.io/cniconfig-name",
  /** SpiderMultusConfig, Pod, Namespace: Pods get all networks of this value, and their RDMA resources. */
  rdmaResourceInject: "cni.spidernet.io/rdma-resource-inject",
  /** SpiderMultusConfig, Pod, Namespace: the same, with whatever resources the networks have. */
  networkResourceInject: "cni.spidernet.io/network-resource-inject",
  /** NetworkAttachmentDefinition: the resource that a Pod on the network asks for; written for sriov, ib-sriov, and ovs with a device. */
  resourceName: "k8s.v1.cni.cncf.io/resourceName",
  /** Pod, `[namespace/]name[@interface], …` or JSON: its further networks. */
  networks: "k8s.v1.cni.cncf.io/networks",
  /** Pod, JSON, written by the agent: what each NIC got. */
  networkStatus: "k8s.v1.cni.cncf.io/network-status",
  /** Pod: the network of `eth0` in place of the cluster's. */
  defaultNetwork: "v1.multus-cni.io/default-network",
  /** Lease, of the controller: the UID of the claims' CustomResourceDefinition with which the ledger was last complete; `lost-…`: claims and pools are lost, `lost-…@UID`: complete but for addresses of no pool. */
  ledgerEpoch: "ipam.spidernet.io/ledger-epoch",
  /** Pool, Node: no new address of the pool is given while the ledger is made anew, or taken over from a former system; the node's agent has done its part (`… in part`: but for addresses of no pool). The value says which time; `lost-…`: claims were given up by a forced removal. */
  ledgerClosed: "ipam.spidernet.io/ledger-closed",
  /** Node, JSON `{"at":"…","claims":["10.6.0.1"]}`, written by the controller: claims about which the ledger and the Pods disagree; the node's agent looks at them. */
  doubts: "ipam.spidernet.io/doubts",
  /** Claim: an administrator's word that the object with this UID is to go. */
  forceRelease: "ipam.spidernet.io/force-release",
  /** Event of the agent: the code of the error, by which its remedy is found (docs/reference/errors.md). */
  errorCode: "ipam.spidernet.io/error-code",
} as const;

/** Set on the agents' DaemonSet by whoever is about to delete the release: agents give their nodes back when they end. */
export const uninstallAnnotation = "spiderpool.spidernet.io/uninstall";

/** A node's resources that name its bridges: a Pod that asks for one lands on a node that has the bridge. */
export const bridgeResourcePrefix = "ovs-cni.network.kubevirt.io/";
