import type { SpiderIPAddressSpec } from "#api";
import { type Fields, textAt } from "../../../lab/api/index.ts";
import { shape } from "../history.ts";
import { Random } from "../runtime/random.ts";
import { soon } from "../runtime/soon.ts";
import type { Time } from "../runtime/time.ts";
import { isOver, nodeOf } from "./kubelet.ts";
import type { Change, KubeObject, Server } from "./server.ts";

export const virtualTable = "kubevirt.io/virtualmachineinstances";
const [group, plural, kind] = ["kubevirt.io", "virtualmachineinstances", "VirtualMachineInstance"] as const;
const namespace = "default";
const name = "vm";
const launcher = /^virt-launcher-vm-\d+$/;

/** KubeVirt's kind, as far as anybody here reads it. */
export const virtualDefinition: Fields = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
};

interface VirtualOptions {
  readonly server: Server;
  readonly time: Time;
  readonly seed: string;
}

/**
 * The virtual machine `vm`, and what KubeVirt does for it: a Pod that runs it, made again on any node when that has gone, and
 * while it migrates live a second one on another node. The second one gets no address as long as the first has it, so that
 * KubeVirt gives the migration up after a while; or it takes the machine over where the first is lost.
 */
export class Virtual {
  readonly #options: VirtualOptions;
  readonly #random: Random;
  readonly #poke: () => void;
  #launchers = 0;

  constructor(options: VirtualOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, "virtual");
    this.#poke = soon(options.time, this.#random, () => this.#reconcile());
    options.server.store.listen("/pods", ({ object }: Change) => {
      if (launcher.test(object.metadata.name)) this.#poke();
    });
  }

  start(): void {
    const { server } = this.#options;
    if (this.#instance() === undefined) {
      server.create(`${group}/v1`, plural, { kind, metadata: { name, namespace } }, namespace);
    }
    this.#poke();
  }

  stop(): void {
    const { server } = this.#options;
    const found = this.#instance();
    if (found === undefined) return;
    server.delete(`${group}/v1`, plural, found, 0);
    for (const pod of this.#pods()) server.delete("v1", "pods", pod);
  }

  /** The Pod that runs it is deleted; where it migrates, the machine goes on in the other one. */
  lose({ force }: { readonly force: boolean }): void {
    const source = this.source();
    if (source !== undefined) this.#options.server.delete("v1", "pods", source, force ? 0 : undefined);
  }

  /** Only a machine that runs is migrated. */
  migrate(): void {
    const source = this.source();
    if (source === undefined || this.#pods().length > 1 || source.metadata.deletionTimestamp !== undefined) return;
    if (textAt(source, "status", "phase") !== "Running") return;
    const others = Array.from({ length: shape.nodes }, (_, at) => `n${at + 1}`).filter((one) => one !== nodeOf(source));
    this.#create(this.#random.pick(others));
  }

  /** A migration is given up. */
  stay(): void {
    for (const pod of this.#pods().slice(1)) this.#options.server.delete("v1", "pods", pod);
  }

  /** The Pod that runs it. */
  source(): KubeObject | undefined {
    return this.#pods()[0];
  }

  #instance(): KubeObject | undefined {
    return this.#options.server.get(virtualTable, { namespace, name });
  }

  /** In the order in which they were made. */
  #pods(): readonly KubeObject[] {
    const pods = this.#options.server.store.list("/pods", namespace);
    const number = ({ metadata }: KubeObject) => Number(metadata.name.split("-").at(-1));
    return pods.filter(({ metadata }) => launcher.test(metadata.name)).toSorted((a, b) => number(a) - number(b));
  }

  #reconcile(): void {
    const { server } = this.#options;
    const pods = this.#pods();
    for (const pod of pods) if (isOver(pod)) server.delete("v1", "pods", pod);
    if (this.#instance() !== undefined && pods.length === 0) {
      this.#create(`n${1 + this.#random.int(shape.nodes)}`);
    }
  }

  #create(nodeName: string): void {
    const { server } = this.#options;
    const uid = this.#instance()?.metadata.uid;
    if (uid === undefined) return;
    const ownerReferences = [{ apiVersion: `${group}/v1`, kind, name, uid, controller: true }];
    const spec = { nodeName, restartPolicy: "Never", terminationGracePeriodSeconds: 2, containers: [] };
    const metadata = { name: `virt-launcher-vm-${++this.#launchers}`, namespace, ownerReferences };
    server.create("v1", "pods", { kind: "Pod", metadata, spec }, namespace);
  }
}

/** The key of the virtual machine, where this is one of its Pods; undefined for all others. */
export function virtualOf(podKey: string): string | undefined {
  const [of, podName = ""] = podKey.split("/");
  return of === namespace && launcher.test(podName) ? `${namespace}/${name}` : undefined;
}

/** Whether the address is kept for the virtual machine, whatever Pod has it. */
export function isOfVirtual({ owner = "" }: SpiderIPAddressSpec): boolean {
  return owner === `${group}/v1/${kind}/${namespace}/${name}`;
}

/** Whether the virtual machine is there. */
export function isVirtualThere(server: Server): boolean {
  return server.get(virtualTable, { namespace, name }) !== undefined;
}

/** Whether a Pod that runs it, or ran it, is there. */
export function hasVirtualPod(server: Server): boolean {
  return server.store.list("/pods", namespace).some(({ metadata }) => launcher.test(metadata.name));
}
