import { nodeOf } from "../cluster/kubelet.ts";
import type { KubeObject } from "../cluster/server.ts";
import type { Node, World } from "../world.ts";

/** Pods of a node that has no object are collected by Kubernetes after this. */
const collectMs = 60_000;

const outOfService = { key: "node.kubernetes.io/out-of-service", value: "nodeshutdown", effect: "NoExecute" };

/** Whether somebody says of the node that its machine is off for certain. */
export function isFenced(node: KubeObject): boolean {
  const { taints = [] } = node["spec"] as { readonly taints?: readonly { readonly key: string }[] };
  return taints.some(({ key }) => key === outOfService.key);
}

/** Node objects that somebody deletes while their machines run on, or are away. */
export class Registrations {
  readonly #world: World;
  readonly #isCut: (node: Node) => boolean;

  constructor(world: World, isCut: (node: Node) => boolean) {
    this.#world = world;
    this.#isCut = isCut;
  }

  /** Somebody deletes the node's object; its kubelet is started again in `ms`, and registers. */
  forget(node: Node, ms: number): void {
    const { server, time } = this.#world;
    const found = server.get("/nodes", node.machine);
    if (found === undefined) return;
    server.delete("v1", "nodes", found, 0);
    time.after(collectMs, () => {
      if (server.get("/nodes", node.machine) !== undefined) return;
      for (const pod of server.store.list("/pods")) {
        if (nodeOf(pod) === node.machine.name) server.delete("v1", "pods", pod, 0);
      }
    });
    time.after(ms, () => this.join(node));
  }

  /**
   * Somebody says that the machine is off for certain: its Pods are given up at once, but for static ones, which tolerate all.
   */
  fence({ machine: { name, isOn } }: Node): void {
    const { server } = this.#world;
    const node = server.get("/nodes", { name });
    if (isOn || node === undefined) return;
    server.update("v1", "nodes", { ...node, spec: { ...(node["spec"] as object), taints: [outOfService] } });
    for (const pod of server.store.list("/pods")) {
      if (nodeOf(pod) !== name || pod.metadata.annotations?.["kubernetes.io/config.hash"] !== undefined) continue;
      server.delete("v1", "pods", pod, 0);
    }
  }

  /** Takes that back, before the machine is switched on. */
  unfence({ machine: { name } }: Node): void {
    const { server } = this.#world;
    const node = server.get("/nodes", { name });
    if (node === undefined || !isFenced(node)) return;
    server.update("v1", "nodes", { ...node, spec: { ...(node["spec"] as object), taints: [] } });
  }

  /** A kubelet that starts and reaches the server registers its node, where that has no object. */
  join(node: Node): void {
    if (!node.machine.isOn || this.#isCut(node)) return;
    this.#world.register(node);
  }
}
