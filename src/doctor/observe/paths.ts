/** Where things are on a node. All but `token` and `appArmor` are paths of the node itself. */
export interface NodePaths {
  /** Before each path of the node's `/etc`, `/run` and `/usr/lib`, where this process sees them elsewhere; "" on the node. */
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

/** What the kernel shows of a process without an AppArmor profile. */
export const appArmorUnconfined = "unconfined";

/** As the chart and the distributions have it. */
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
