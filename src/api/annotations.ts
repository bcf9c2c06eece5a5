/**
 * Every annotation key that the system writes or reads, in one table. Values are text; JSON where it says so. Each comment
 * is `objects that have it[, form]: what it means`: docs/reference/annotations.md is made of them.
 */
export const annotations = {
  /** Pod, JSON `{"ipv4":[…],"ipv6":[…]}`: pools for all NICs of the Pod. */
  ippool: "ipam.spidernet.io/ippool",
  /** Pod, JSON `[{"interface":"eth0","ipv4":[…],"ipv6":[…],"cleangateway":false}]`: pools for each NIC; takes precedence over `ippool`. `cleangateway: true`: no default route by this NIC. */
  ippools: "ipam.spidernet.io/ippools",
  /** Pod, JSON `[{"dst":"10.0.0.0/16","gw":"192.168.1.1"}]`: more routes; each goes to the NIC whose subnet contains `gw`. */
  routes: "ipam.spidernet.io/routes",
  /** Pod template, JSON `{"ipv4":["s4"],"ipv6":["s6"]}`: SpiderSubnets from which the application gets its pools; the first of each family counts. */
  subnet: "ipam.spidernet.io/subnet",
  /** Pod template, JSON `[{"interface":"eth0","ipv4":[…],"ipv6":[…]}]`: the same for each NIC; takes precedence over `subnet`. */
  subnets: "ipam.spidernet.io/subnets",
  /** Pod template, and automatic pools: `"N"`, so many addresses; `"+N"`, so many more than replicas. */
  poolIpNumber: "ipam.spidernet.io/ippool-ip-number",
  /** Pod template: `"true"` (the default): the application's pools are deleted with it; `"false"`: they stay. */
  poolReclaim: "ipam.spidernet.io/ippool-reclaim",
  /** Pod: which of the Pod's NICs has the default route. */
  defaultRouteNic: "ipam.spidernet.io/default-route-nic",
  /** Namespace, JSON array: IPv4 pools for Pods that name none. */
  defaultIpv4Pools: "ipam.spidernet.io/default-ipv4-ippool",
  /** Namespace, JSON array: IPv6 pools for Pods that name none. */
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
  /** Pod, `[namespace/]name[@interface], …` or JSON: its additional networks. */
  networks: "k8s.v1.cni.cncf.io/networks",
  /** Pod, JSON, written by the agent: the network and addresses of each NIC. */
  networkStatus: "k8s.v1.cni.cncf.io/network-status",
  /** Pod: the network of `eth0`, instead of the cluster's default. */
  defaultNetwork: "v1.multus-cni.io/default-network",
  /** Lease, of the controller: the UID of the claims' CustomResourceDefinition when the ledger was last complete; `lost-…`: claims and pools are lost; `lost-…@UID`: complete except for addresses that are in no pool. */
  ledgerEpoch: "ipam.spidernet.io/ledger-epoch",
  /** Pool, Node: on a pool: it gives no new address while the ledger is rebuilt, or taken over from a former system; on a Node: its agent has done its part (`… in part`: except for addresses that are in no pool). The value identifies the event; `lost-…`: a forced removal gave the claims up. */
  ledgerClosed: "ipam.spidernet.io/ledger-closed",
  /** Node, JSON `{"at":"…","claims":["10.6.0.1"]}`, written by the controller: claims that do not match the Pods; the node's agent checks them. */
  doubts: "ipam.spidernet.io/doubts",
  /** Claim: the UID of this object; an administrator sets it to have the address released. */
  forceRelease: "ipam.spidernet.io/force-release",
  /** Event of the agent: the code of the error; docs/reference/errors.md says what to do. */
  errorCode: "ipam.spidernet.io/error-code",
} as const;

/** Set on the agents' DaemonSet by whoever is about to delete the release: agents give their nodes back when they end. */
export const uninstallAnnotation = "spiderpool.spidernet.io/uninstall";

/** A node's resources that name its bridges: a Pod that asks for one lands on a node that has the bridge. */
export const bridgeResourcePrefix = "ovs-cni.network.kubevirt.io/";
