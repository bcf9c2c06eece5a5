import { shape } from "../history.ts";
import { Random } from "../runtime/random.ts";
import { soon } from "../runtime/soon.ts";
import type { Time } from "../runtime/time.ts";
import { isOver } from "./kubelet.ts";
import type { Change, KubeObject, Server } from "./server.ts";

export const statefulTable = "apps/statefulsets";
const namespace = "default";
const name = "web";

interface StatefulOptions {
  readonly server: Server;
  readonly time: Time;
  readonly seed: string;
}

/**
 * The StatefulSet `web`, and the controller that Kubernetes has for it: one Pod for each ordinal, made again, on any node,
 * when the former object has gone.
 */
export class Stateful {
  readonly #options: StatefulOptions;
  readonly #random: Random;
  readonly #poke: () => void;
  #restsUntilMs = 0;

  constructor(options: StatefulOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, "stateful");
    this.#poke = soon(options.time, this.#random, () => this.#reconcile());
    options.server.store.listen("/pods", ({ object }: Change) => {
      if (ordinalOf(object.metadata.name) !== undefined) this.#poke();
    });
  }

  /** Makes it where it is not there. */
  scale(replicas: number): void {
    const { server } = this.#options;
    const found = this.#set();
    const spec = { replicas, serviceName: name, selector: {}, template: {} };
    if (found === undefined) {
      server.create("apps/v1", "statefulsets", { kind: "StatefulSet", metadata: { name, namespace }, spec }, namespace);
    } else server.update("apps/v1", "statefulsets", { ...found, spec: { ...(found["spec"] as object), replicas } });
    this.#poke();
  }

  /** `orphan`: its Pods stay, and the next StatefulSet of the name takes them over. */
  delete({ orphan }: { readonly orphan: boolean }): void {
    const { server } = this.#options;
    const found = this.#set();
    if (found === undefined) return;
    if (orphan) for (const pod of this.#pods()) this.#own(pod, []);
    server.delete("apps/v1", "statefulsets", found, 0);
    if (!orphan) for (const pod of this.#pods()) server.delete("v1", "pods", pod);
  }

  get isThere(): boolean {
    return this.#set() !== undefined;
  }

  /** Its controller does nothing for so long. */
  rest(ms: number): void {
    const { time } = this.#options;
    this.#restsUntilMs = Math.max(this.#restsUntilMs, time.nowMs + ms);
    time.after(ms, this.#poke);
  }

  restart(ordinal: number, { force }: { readonly force: boolean }): void {
    const pod = this.pod(ordinal);
    if (pod !== undefined) this.#options.server.delete("v1", "pods", pod, force ? 0 : undefined);
  }

  pod(ordinal: number): KubeObject | undefined {
    return this.#options.server.get("/pods", { namespace, name: `${name}-${ordinal}` });
  }

  #set(): KubeObject | undefined {
    return this.#options.server.get(statefulTable, { namespace, name });
  }

  #pods(): readonly KubeObject[] {
    const pods = this.#options.server.store.list("/pods", namespace);
    return pods.filter(({ metadata }) => ordinalOf(metadata.name) !== undefined);
  }

  #reconcile(): void {
    const { server } = this.#options;
    const set = this.#set();
    if (set === undefined || this.#options.time.nowMs < this.#restsUntilMs) return;
    const { replicas } = set["spec"] as { readonly replicas: number };
    const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name, uid: set.metadata.uid, controller: true };
    for (let ordinal = 0; ordinal < replicas; ordinal++) {
      const pod = this.pod(ordinal);
      if (pod === undefined) this.#create(ordinal, owner);
      else if (pod.metadata.deletionTimestamp !== undefined) continue;
      else if (isOver(pod)) server.delete("v1", "pods", pod);
      else if (pod.metadata.ownerReferences?.[0]?.uid !== owner.uid) this.#own(pod, [owner]);
    }
    for (const pod of this.#pods()) {
      const isWanted = (ordinalOf(pod.metadata.name) ?? 0) < replicas;
      if (!isWanted && pod.metadata.deletionTimestamp === undefined) server.delete("v1", "pods", pod);
    }
  }

  #create(ordinal: number, owner: object): void {
    const nodeName = `n${1 + this.#random.int(shape.nodes)}`;
    const spec = { nodeName, restartPolicy: "Always", terminationGracePeriodSeconds: 2, containers: [] };
    const metadata = { name: `${name}-${ordinal}`, namespace, ownerReferences: [owner] };
    this.#options.server.create("v1", "pods", { kind: "Pod", metadata, spec }, namespace);
  }

  #own(pod: KubeObject, ownerReferences: readonly object[]): void {
    this.#options.server.update("v1", "pods", { ...pod, metadata: { ...pod.metadata, ownerReferences } } as KubeObject);
  }
}

/** Whether the StatefulSet has a Pod of this name, now or soon. */
export function isWanted(server: Server, podName: string): boolean {
  const ordinal = ordinalOf(podName);
  const set = server.get(statefulTable, { namespace, name });
  if (ordinal === undefined || set === undefined) return false;
  return ordinal < (set["spec"] as { readonly replicas: number }).replicas;
}

/** Undefined for Pods of others. */
function ordinalOf(podName: string): number | undefined {
  const [, digits] = /^web-(\d+)$/.exec(podName) ?? [];
  return digits === undefined ? undefined : Number(digits);
}
