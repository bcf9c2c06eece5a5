import { parse } from "yaml";
import type { SpiderCoordinatorSpec, SpiderCoordinatorStatus } from "#api";
import { parsePrefix, prefixContains, tryParseIp, tryParsePrefix } from "#ip";

type PodCidrType = NonNullable<SpiderCoordinatorSpec["podCIDRType"]>;

/** What the API says about the cluster's address ranges. Absent: the cluster has no such object. */
export interface ClusterFacts {
  /** `ClusterConfiguration` of the ConfigMap kubeadm-config. */
  readonly kubeadm?: string | undefined;
  /** Command and arguments of a kube-controller-manager. */
  readonly controllerManager?: readonly string[] | undefined;
  /** From the ServiceCIDR objects, the oldest first. */
  readonly serviceCidrs: readonly string[];
  /** From Calico's enabled IPPools, the oldest first. */
  readonly calicoPools: readonly string[];
  /** The data of the ConfigMap of Cilium's settings. */
  readonly cilium?: Readonly<Record<string, string>> | undefined;
  /** Where that is, as `namespace/name`. */
  readonly ciliumAt: string;
  /** From all CiliumPodIPPools. */
  readonly ciliumPools: readonly string[];
  /** Whether Flannel's ConfigMap exists. */
  readonly flannel: boolean;
}

/**
 * The status of a coordinator: the ranges, or the reason why they are unknown.
 *
 * @param hijackCidrs of its spec: managed clusters before 1.33 tell their Service CIDR nowhere, and a user may name it there
 */
export function resolveCidrs(
  type: PodCidrType,
  facts: ClusterFacts,
  hijackCidrs: readonly string[] = [],
): SpiderCoordinatorStatus {
  const kubernetes = kubernetesCidrs(facts);
  const serviceCIDR = facts.serviceCidrs.length > 0 ? facts.serviceCidrs : kubernetes.services;
  if (serviceCIDR.length === 0 && hijackCidrs.every(isLinkLocal)) {
    return {
      phase: "NotReady",
      reason:
        "No kube-controller-manager pod found, unable to get the service CIDR; there is neither a ServiceCIDR nor kubeadm-config: add the cluster's service CIDR to spec.hijackCIDR",
      overlayPodCIDR: [],
      serviceCIDR: [],
    };
  }
  const found = podCidrs(type === "auto" ? detectType(facts) : type, facts, kubernetes.pods);
  if ("missing" in found) return { phase: "NotReady", reason: found.missing, overlayPodCIDR: [], serviceCIDR };
  return { phase: "Synced", reason: "", overlayPodCIDR: found.cidrs, serviceCIDR };
}

/** Where node-local DNS listens: the chart hijacks that in every cluster, so that it tells nothing about Services. */
function isLinkLocal(cidr: string): boolean {
  const ip = tryParsePrefix(cidr)?.ip ?? tryParseIp(cidr);
  return ip === undefined || linkLocal.some((net) => net.ip.family === ip.family && prefixContains(net, ip));
}

const linkLocal = ["169.254.0.0/16", "fe80::/10"].map((text) => parsePrefix(text));

/** The CNI of the cluster's default network, recognised by its objects in the API. */
export function detectType({ calicoPools, cilium, flannel }: ClusterFacts): Exclude<PodCidrType, "auto"> {
  if (calicoPools.length > 0) return "calico";
  if (cilium !== undefined) return "cilium";
  return flannel ? "cluster" : "none";
}

type Found = { readonly cidrs: readonly string[] } | { readonly missing: string };

function podCidrs(type: Exclude<PodCidrType, "auto">, facts: ClusterFacts, kubernetes: readonly string[]): Found {
  switch (type) {
    case "none":
      return { cidrs: [] };
    case "cluster":
      return some(kubernetes, "No kube-controller-manager pod found, unable to get clusterCIDR");
    case "calico":
      return some(facts.calicoPools, "no enabled Calico IPPool found");
    case "cilium":
      return ciliumCidrs(facts, kubernetes);
  }
}

function ciliumCidrs({ cilium, ciliumAt, ciliumPools }: ClusterFacts, kubernetes: readonly string[]): Found {
  if (cilium === undefined) return { missing: `no ConfigMap ${ciliumAt} found` };
  const { ipam = "" } = cilium;
  switch (ipam) {
    case "cluster-pool":
    case "cluster-pool-v2beta": {
      const { "cluster-pool-ipv4-cidr": v4, "cluster-pool-ipv6-cidr": v6 } = cilium;
      return some([...listOf(v4), ...listOf(v6)], `${ciliumAt} has ipam ${ipam} and no cluster-pool CIDR`);
    }
    case "multi-pool":
      return some(ciliumPools, "no CiliumPodIPPool found");
    case "kubernetes":
      return some(kubernetes, "No kube-controller-manager pod found, unable to get clusterCIDR");
    default:
      return { missing: `unsupported CNI cilium ipam mode: ${ipam.slice(0, 80)}` };
  }
}

function some(cidrs: readonly string[], missing: string): Found {
  return cidrs.length > 0 ? { cidrs } : { missing };
}

/** The ranges that Kubernetes was configured with: each from kubeadm, else from the flags of kube-controller-manager. */
function kubernetesCidrs({ kubeadm, controllerManager = [] }: ClusterFacts) {
  const networking = kubeadmNetworking(kubeadm);
  const flag = (name: string) => controllerManager.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
  const first = (...texts: readonly (string | undefined)[]) =>
    texts.map(listOf).find((cidrs) => cidrs.length > 0) ?? [];
  return {
    pods: first(networking.podSubnet, flag("--cluster-cidr")),
    services: first(networking.serviceSubnet, flag("--service-cluster-ip-range")),
  };
}

function kubeadmNetworking(text: string | undefined): { readonly podSubnet?: string; readonly serviceSubnet?: string } {
  if (text === undefined) return {};
  try {
    const networking: Readonly<Record<string, unknown>> = parse(text)?.networking ?? {};
    const { podSubnet, serviceSubnet } = networking;
    return {
      ...(typeof podSubnet === "string" && { podSubnet }),
      ...(typeof serviceSubnet === "string" && { serviceSubnet }),
    };
  } catch {
    return {}; // Invalid YAML counts as absent.
  }
}

/** The CIDRs in a list separated by commas or spaces; anything else is skipped. */
function listOf(text = ""): readonly string[] {
  return text.split(/[,\s]+/).filter((one) => tryParsePrefix(one) !== undefined);
}
