/**
 * The lab's stand-in for kubelet and containerd: one process per node, inside the node's namespaces. It registers the Node,
 * runs the Pods that are bound to it, calls CNI as containerd does, and serves logs and exec. Containers are processes of the
 * host's file system in namespaces of their own; images are not pulled.
 *
 * Knows the product only by CNI and the API. May be imported by anything under `lab/`, by `bench/` and by tests.
 */
export { startKubelet } from "./kubelet.ts";
export { CniRuntime, type Sandbox } from "./runtime.ts";
