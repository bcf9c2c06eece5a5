import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { LabNode, NodePlan, NodeProgram } from "../../lab/topology/index.ts";
import type { Authority } from "./certificates.ts";
import { pauseImage } from "./images.ts";
import type { clusterRanges } from "./protocol.ts";

/** Folders of a Kubernetes node that outlive a loss of power, beyond those of every node of the lab. */
export const nodeFolders = ["/var/lib/containerd", "/var/lib/kube-proxy", "/usr/local/lib/spiderpool"];

/** What is needed to set up a node. */
export interface MachineOptions {
  readonly authority: Authority;
  /** The API server's address for nodes. */
  readonly url: string;
  /** Finds a program by its name. */
  readonly binary: (name: string) => string;
  /** The control group of all nodes of the cluster. Each node has its own in it, by name. */
  readonly cgroup: string;
  readonly ranges: ReturnType<typeof clusterRanges>;
}

/** The network of Pods on the node with this management address; every node routes to the others'. */
export function podSubnet({ managementIp }: NodePlan): string {
  return `10.244.${managementIp.split(".")[3]}.0/24`;
}

/** Settings that kubelet would change for the whole machine. Private files with the values that it wants prevent that. */
const kernelSettings = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

const setUpScript = [
  "set -e",
  "mkdir /run/sysctl /run/lock",
  ...Object.entries(kernelSettings).map(([name, value]) => {
    const file = `/run/sysctl/${name.replaceAll("/", "_")}`;
    return `echo ${value} >${file}; mount --bind ${file} /proc/sys/${name}`;
  }),
  "echo 1 >/proc/sys/net/ipv4/ip_forward",
  "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
  "cp --no-clobber /usr/lib/cni/* /opt/cni/bin/",
].join("\n");

/** Prepares a node that was just switched on: kernel settings, credentials, configuration, routes to the others' Pods. */
export async function setUpMachine(
  node: LabNode,
  all: readonly NodePlan[],
  { authority, url, ranges, cgroup }: MachineOptions,
): Promise<void> {
  const [client, proxy, serving] = await Promise.all([
    authority.kubeconfig(`${node.name}-kubelet`, `/O=system:nodes/CN=system:node:${node.name}`, url),
    authority.kubeconfig(`${node.name}-proxy`, "/CN=system:kube-proxy", url),
    authority.issue(`${node.name}-serving`, `/O=system:nodes/CN=system:node:${node.name}`, [
      `DNS:${node.name}`,
      `IP:${node.managementIp}`,
    ]),
  ]);
  const text = (path: string) => readFileSync(path, "utf8");
  const files: Readonly<Record<string, string>> = {
    "/var/lib/kubelet/kubeconfig": text(client),
    "/var/lib/kubelet/ca.crt": text(authority.certificate),
    "/var/lib/kubelet/serving.crt": text(serving.cert),
    "/var/lib/kubelet/serving.key": text(serving.key),
    "/var/lib/kubelet/config.json": JSON.stringify(kubeletConfiguration(`/${cgroup}/${node.name}`, ranges.services)),
    "/var/lib/kube-proxy/kubeconfig": text(proxy),
    "/var/lib/kube-proxy/config.json": JSON.stringify(proxyConfiguration(ranges.pods)),
    "/var/lib/containerd/config.toml": containerdConfiguration,
    "/etc/cni/net.d/10-bridge.conflist": JSON.stringify(bridgeNetwork(podSubnet(node))),
  };
  await node.run(["sh", "-c", setUpScript]);
  const write = 'umask 077; cat >"$0"';
  await Promise.all(Object.entries(files).map(([path, input]) => node.run(["sh", "-c", write, path], { input })));
  const routes = all
    .filter(({ name }) => name !== node.name)
    .map((other) => `route replace ${podSubnet(other)} via ${other.managementIp}\n`);
  await node.run(["ip", "-batch", "-"], { input: routes.join("") });
}

/** The programs of a node, in the order in which they are started. */
export function machinePrograms(node: NodePlan, { binary }: MachineOptions): Readonly<Record<string, NodeProgram>> {
  return {
    containerd: {
      argv: [binary("containerd"), "--config", "/var/lib/containerd/config.toml"],
      // It looks for its shim there.
      env: { ...process.env, PATH: `${dirname(binary("containerd"))}:${process.env["PATH"]}` },
    },
    kubelet: {
      argv: [
        ...[binary("kubelet"), "--config=/var/lib/kubelet/config.json", "--kubeconfig=/var/lib/kubelet/kubeconfig"],
        ...[`--hostname-override=${node.name}`, `--node-ip=${node.managementIp}`, "--root-dir=/var/lib/kubelet"],
      ],
    },
    "kube-proxy": {
      argv: [binary("kube-proxy"), "--config=/var/lib/kube-proxy/config.json", `--hostname-override=${node.name}`],
    },
  };
}

function kubeletConfiguration(cgroupRoot: string, serviceRanges: string): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    failCgroupV1: false,
    cgroupDriver: "cgroupfs",
    // Otherwise kubelets would remove each other's Pods.
    cgroupRoot,
    enforceNodeAllocatable: [],
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: "/var/lib/kubelet/ca.crt" },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: "/var/lib/kubelet/serving.crt",
    tlsPrivateKeyFile: "/var/lib/kubelet/serving.key",
    failSwapOn: false,
    clusterDomain: "cluster.local",
    clusterDNS: [serviceRanges.replace(/0\/.*$/, "10")],
    resolvConf: "",
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: {
      "memory.available": "100Mi",
      "nodefs.available": "1%",
      "nodefs.inodesFree": "1%",
      "imagefs.available": "1%",
      "imagefs.inodesFree": "1%",
    },
    nodeStatusUpdateFrequency: "4s",
    // A dead node is noticed after 6 s: see the controller manager's flags.
    nodeLeaseDurationSeconds: 4,
    maxPods: 110,
    // A container that a test kills again and again is started again, not five minutes later.
    featureGates: { KubeletCrashLoopBackOffMax: true },
    crashLoopBackOff: { maxContainerRestartPeriod: "2s" },
    serializeImagePulls: false,
  };
}

function proxyConfiguration(clusterCIDR: string): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    // In this mode it would be the primary address only.
    nodePortAddresses: clusterCIDR.split(",").map((cidr) => (cidr.includes(":") ? "::/0" : "0.0.0.0/0")),
    clusterCIDR,
    clientConnection: { kubeconfig: "/var/lib/kube-proxy/kubeconfig" },
    // These limits are the machine's, not the node's.
    conntrack: { maxPerCore: 0, min: 0, tcpCloseWaitTimeout: "0s", tcpEstablishedTimeout: "0s" },
  };
}

const containerdConfiguration = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`;

/** The network that the cluster has before ours is installed: Debian's bridge plugin. */
function bridgeNetwork(subnet: string): object {
  const ipam = { type: "host-local", ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] };
  return {
    cniVersion: "0.4.0",
    name: "kubenet",
    plugins: [
      { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: false, hairpinMode: true, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}
