/** Where files are on a node. `token` and `appArmor` are paths of this process, all others are paths of the node. */
export interface NodePaths {
  /** Where this process sees the node's `/etc`, `/run` and `/usr`, as a prefix of their paths; "" on the node itself. */
  readonly root: string;
  readonly etc: string;
  readonly run: string;
  readonly usrLib: string;
  readonly confDir: string;
  readonly binDir: string;
  readonly stateDir: string;
  readonly token: string;
  readonly appArmor: string;
}

/** What the kernel shows for a process without an AppArmor profile. */
export const appArmorUnconfined = "unconfined";

/** The paths of the chart and of distributions. */
export const nodePaths: NodePaths = {
  root: "",
  etc: "/etc",
  run: "/run",
  usrLib: "/usr/lib",
  confDir: "/etc/cni/net.d",
  binDir: "/opt/cni/bin",
  stateDir: "/var/lib/spiderpool",
  token: "/var/run/secrets/kubernetes.io/serviceaccount/token",
  appArmor: "/proc/self/attr/apparmor/current",
};
