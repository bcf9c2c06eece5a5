import { fileURLToPath } from "node:url";
import { type LabHandle, launchSupervisor } from "../../lab/launch.ts";
import { findKubectl } from "../../lab/tools/kubectl.ts";
import { findBinaries, findContainerd, kubernetesPrograms } from "./binaries.ts";
import { buildImages } from "./images.ts";
import { type ClusterSpec, clusterMarker } from "./protocol.ts";

export type ClusterOptions = Omit<ClusterSpec, "binaries" | "images" | "kubectl" | "cgroup"> & {
  /** Image archives beside those that every cluster needs; the latter are expected in an `imageStore` that is given. */
  readonly images?: readonly string[];
  /** The marker by which its supervisor is found. @default clusterMarker */
  readonly marker?: string;
  /** The version of Kubernetes. @default the newest */
  readonly version?: string;
  /** Nodes run containerd 2 in place of the machine's own. @default false */
  readonly containerd2?: boolean;
  /** Called for each step that takes long, before the start. */
  readonly say?: (line: string) => void;
  readonly onPhase?: (phase: string, atMs: number) => void;
  readonly stderr?: number | "inherit";
};

/** The programs that a cluster takes from the machine's packages. */
const installed = ["containerd", "ctr"];

/**
 * Starts a real Kubernetes in namespaces of its own and resolves when its nodes are Ready, which is before any agent is:
 * nodes have a network of their own, Debian's bridge plugin. Handled, and ended, as a lab is; `kubeconfig` is a cluster
 * administrator's. Needs root. Throws SpiderError LAB_FAILED, and Error where a program cannot be had.
 */
export async function launchCluster(options: ClusterOptions): Promise<LabHandle> {
  const { say = () => {}, onPhase, stderr, images = [], version, containerd2 = false, ...others } = options;
  const { marker = clusterMarker, ...spec } = others;
  const programs = options.controllers === false ? ["kube-apiserver"] : kubernetesPrograms;
  const binary = await findBinaries({ say, programs, ...(version && { version }) });
  const runtime = containerd2 ? `${await findContainerd(say)}/` : "";
  const cgroup = `${clusterMarker}-${process.pid}-${Date.now().toString(36)}`;
  const named = [...programs, "etcd"].map((name) => [name, binary(name)] as const);
  return await launchSupervisor<ClusterSpec>({
    program: fileURLToPath(new URL("./supervisor.ts", import.meta.url)),
    marker,
    scheme: "https",
    cgroup,
    spec: {
      ...spec,
      cgroup,
      binaries: Object.fromEntries([...named, ...installed.map((name) => [name, `${runtime}${name}`] as const)]),
      images: [...(spec.imageStore === undefined ? await buildImages() : []), ...images],
      kubectl: await findKubectl("1.35"),
    },
    ...(onPhase && { onPhase }),
    ...(stderr && { stderr }),
  });
}
