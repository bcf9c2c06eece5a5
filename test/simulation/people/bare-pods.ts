import { idOf, isOver } from "../cluster/kubelet.ts";
import type { KubeObject } from "../cluster/server.ts";
import { type Op, shape } from "../history.ts";
import type { World } from "../world.ts";

const namespace = "default";
/** Of any Pod: those that crowd have slots of their own. */
const slotsMax = shape.slots + shape.pools * shape.poolSizeMax + 2;

/** What happens to a sandbox without the API server. */
type SandboxEvent = "finish" | "crash" | "second-sandbox";

/** Pods that no controller makes, each known by its slot. */
export class BarePods {
  readonly #world: World;
  #hashes = 0;

  constructor(world: World) {
    this.#world = world;
  }

  create({ slot, node, nics, form }: Omit<Extract<Op, { readonly kind: "create" }>, "kind" | "atMs">): void {
    const { server, nodes } = this.#world;
    const { machine } = this.#world.node(node);
    if (this.get(slot) !== undefined) return;
    const isNamed = (metadata: { readonly name: string }) => metadata.name === podName(slot);
    // One file on one node is what a static Pod's name stands for.
    if (
      form === "static" &&
      nodes.some(({ machine }) => [...machine.manifests.values()].some((one) => isNamed(one.metadata)))
    )
      return;
    const networks = nics > 1 ? { "k8s.v1.cni.cncf.io/networks": "kube-system/second" } : {};
    const made = form === "static" ? (++this.#hashes).toString(16).padStart(32, "0") : undefined;
    const hash = made === undefined ? {} : { "kubernetes.io/config.hash": made, "kubernetes.io/config.mirror": made };
    const empty = form === "empty-uid" ? { "simulation/empty-uid": "" } : {};
    const annotations = { ...networks, ...hash, ...empty };
    const spec = {
      nodeName: machine.name,
      restartPolicy: form === "job" ? "Never" : "Always",
      terminationGracePeriodSeconds: 2,
      containers: [],
    };
    const body = { kind: "Pod", metadata: { name: podName(slot), namespace, annotations }, spec };
    if (made !== undefined) machine.manifests.set(made, { ...body, metadata: { ...body.metadata } });
    server.create("v1", "pods", body, namespace);
  }

  createBare(slot: number, node: number): void {
    this.create({ slot, node, nics: 1, form: "bare" });
  }

  /** All but those of StatefulSets and applications. */
  deleteAll(): void {
    for (let slot = 0; slot < slotsMax; slot++) this.delete(slot, false);
  }

  delete(slot: number, force: boolean): void {
    const pod = this.get(slot);
    if (pod === undefined) return;
    for (const { machine } of this.#world.nodes) machine.manifests.delete(idOf(pod));
    this.#world.server.delete("v1", "pods", pod, force ? 0 : undefined);
  }

  /** Does nothing if there is no such Pod, or its machine is off. */
  tell(kind: SandboxEvent, pod: KubeObject | undefined): void {
    if (pod === undefined || isOver(pod)) return;
    const spec = pod["spec"] as { readonly nodeName: string; readonly restartPolicy: string };
    const node = this.#world.nodes.find(({ machine }) => machine.name === spec.nodeName);
    if (node?.machine.isOn !== true) return;
    const uid = idOf(pod);
    if (kind === "crash") node.kubelet?.crash(uid);
    else if (kind === "second-sandbox") node.kubelet?.second(uid);
    else if (spec.restartPolicy === "Never") node.kubelet?.finish(uid);
  }

  get(slot: number): KubeObject | undefined {
    return this.#world.server.get("/pods", { namespace, name: podName(slot) });
  }
}

function podName(slot: number): string {
  return `pod-${slot}`;
}
