import { createHash } from "node:crypto";

/**
 * Every label key that the system writes or reads. Keys in `podAffinity` of pools made for an application are compared with the
 * application, never with labels of Pods.
 */
export const labels = {
  /** On pools: their CIDR, with `/`, `.` and `:` as `-`. Links pools and the subnet of one CIDR. */
  poolCidr: "ipam.spidernet.io/ippool-cidr",
  /** On subnets: their CIDR, in the form of `poolCidr`. */
  subnetCidr: "ipam.spidernet.io/subnet-cidr",
  /** On pools: the subnet that owns them. */
  ownerSubnet: "ipam.spidernet.io/owner-spider-subnet",
  /** On pools made for an application: its apiVersion, `/` as `_`. */
  ownerApplicationGv: "ipam.spidernet.io/owner-application-gv",
  ownerApplicationKind: "ipam.spidernet.io/owner-application-kind",
  ownerApplicationNamespace: "ipam.spidernet.io/owner-application-namespace",
  /** On pools made for an application, and only on these: its name. */
  ownerApplicationName: "ipam.spidernet.io/owner-application-name",
  ownerApplicationUid: "ipam.spidernet.io/owner-application-uid",
  /** On pools made for an application: the NIC that they are for. */
  interface: "ipam.spidernet.io/interface",
  /** On pools made for an application: `IPv4` or `IPv6`. */
  ipVersion: "ipam.spidernet.io/ip-version",
  /** On pools made for an application: whether they are deleted with it, `true` or `false`. */
  poolReclaim: "ipam.spidernet.io/ippool-reclaim",
  /** In `podAffinity` of pools made for an application; empty for the core group. */
  appApiGroup: "ipam.spidernet.io/app-api-group",
  appApiVersion: "ipam.spidernet.io/app-api-version",
  appKind: "ipam.spidernet.io/app-kind",
  appNamespace: "ipam.spidernet.io/app-namespace",
  appName: "ipam.spidernet.io/app-name",
  /** On claims: their pool and node, hashed if the name is too long for a label value. */
  claimPool: "pool",
  claimNode: "node",
  /** On agents and controllers, their workloads and Pods: which program it is, whatever names a release has. */
  program: "spiderpool.spidernet.io/program",
  /**
   * On claims, `true`: excludes them from Velero's backups. A restored claim would belong to a Pod that does not exist, or take
   * the address from one that does.
   */
  noBackup: "velero.io/exclude-from-backup",
} as const;

/** The five keys that identify an application in `podAffinity` of the pools made for it. */
export const applicationKeys: readonly string[] = [
  labels.appApiGroup,
  labels.appApiVersion,
  labels.appKind,
  labels.appNamespace,
  labels.appName,
];

/** The label selector of one of the programs, in every release. */
export function programSelector(program: "agent" | "controller"): string {
  return `${labels.program}=${program}`;
}

/** A name as a label value. A name that is too long, or has invalid characters, becomes a hash; the full name is in the spec. */
export function labelValue(name: string): string {
  const fits = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(name);
  return fits ? name : `h-${createHash("sha256").update(name).digest("hex").slice(0, 20)}`;
}
