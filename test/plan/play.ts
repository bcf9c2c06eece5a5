import { deployments, type KubeObject, type OwnerReference, type Pod, pods, replicaSets, statefulSets } from "#kube";
import type { Manifest } from "../../src/ctl/manifests.ts";
import type { Change } from "../../src/ctl/plan/state.ts";
import type { PlanLab } from "./lab.ts";

interface App extends KubeObject {
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
      readonly spec: { readonly nodeSelector: Readonly<Record<string, string>> };
    };
    readonly strategy?: { readonly rollingUpdate: { readonly maxSurge: number; readonly maxUnavailable: number } };
  };
}

/** What came of a change. */
export interface Outcome {
  readonly refused: readonly string[];
  /** Pods that were made and did not start: by name, of a Deployment by its name. */
  readonly stuck: readonly string[];
}

/** Makes the change on the lab, plays Kubernetes' own controllers and kubelets, and waits until all is at rest. */
export async function play(lab: PlanLab, change: Change): Promise<Outcome> {
  const refused: string[] = [];
  const touched = new Map<string, readonly [Manifest, App | undefined]>();
  for (const manifest of [...change.applied, ...change.deleted]) {
    const key = `${manifest.kind}/${manifest.metadata.name}`;
    if (manifest.apiVersion === "apps/v1" && !touched.has(key)) touched.set(key, [manifest, appOf(lab, manifest)]);
    const isDeleted = change.deleted.includes(manifest);
    const why = isDeleted ? await lab.remove(manifest) : await lab.apply(manifest);
    if (why !== undefined) refused.push(`${manifest.kind?.toLowerCase()}/${manifest.metadata.name}`);
  }
  const apps = [...touched.values()].map(([manifest, before]) => new Rollout(lab, manifest, before));
  for (const app of apps) await app.end();
  await lab.rest();
  for (const pod of waiting(lab)) await lab.retry(pod.metadata.name);
  for (const app of apps) await app.start();
  await lab.rest();
  return { refused, stuck: apps.flatMap(({ stuck }) => stuck) };
}

function waiting(lab: PlanLab): readonly Pod[] {
  return lab.api.all(pods).filter(({ metadata }) => metadata.namespace === "default" && !lab.isRunning(metadata.name));
}

function appOf(lab: PlanLab, { kind, metadata }: Manifest): App | undefined {
  const resource = kind === "StatefulSet" ? statefulSets : deployments;
  return lab.api.read<KubeObject>(resource as never, { namespace: "default", name: metadata.name ?? "" }) as
    | App
    | undefined;
}

/** One application from what it was to what it is. */
class Rollout {
  readonly stuck: string[] = [];
  readonly #lab: PlanLab;
  readonly #kind: string;
  readonly #name: string;
  readonly #before: App | undefined;
  readonly #after: App | undefined;
  readonly #owner: OwnerReference;

  constructor(lab: PlanLab, manifest: Manifest, before: App | undefined) {
    this.#lab = lab;
    this.#kind = manifest.kind ?? "";
    this.#name = manifest.metadata.name ?? "";
    this.#before = before;
    this.#after = appOf(lab, manifest);
    this.#owner = this.#ownerOf((this.#after ?? before) as App | undefined);
  }

  /** Pods that are too many. */
  async end(): Promise<void> {
    const wanted = this.#after?.spec.replicas ?? 0;
    const all = this.#pods.toReversed();
    const young = all.toSorted((a, b) => rankOf(this.#lab, b) - rankOf(this.#lab, a));
    const gone =
      this.#kind === "StatefulSet"
        ? all.filter((pod) => ordinalOf(pod) >= wanted)
        : young.slice(0, Math.max(0, all.length - wanted));
    for (const pod of gone) await this.#lab.endPod(pod.metadata.name);
  }

  async start(): Promise<void> {
    const { spec } = this.#after ?? {};
    if (spec === undefined) return;
    const isNew =
      this.#before !== undefined && JSON.stringify(this.#before.spec.template) !== JSON.stringify(spec.template);
    if (this.#kind === "StatefulSet") await this.#startOrdered(isNew);
    else if (isNew) await this.#roll();
    else
      for (let lacking = spec.replicas - this.#pods.length; lacking > 0; lacking--)
        await this.#makeOne(this.#nextName());
  }

  get #pods(): readonly Pod[] {
    return this.#lab.podsOf(this.#owner);
  }

  async #startOrdered(isNew: boolean): Promise<void> {
    const { replicas } = (this.#after as App).spec;
    const old = this.#pods;
    if (old.some(({ metadata }) => !this.#lab.isRunning(metadata.name))) return;
    for (let index = 0; index < replicas; index++) {
      const name = `${this.#name}-${index}`;
      if (old.some(({ metadata }) => metadata.name === name)) continue;
      if (!(await this.#makeOne(name))) return;
    }
    for (const { metadata } of isNew ? old.toReversed() : []) {
      await this.#lab.endPod(metadata.name);
      if (!(await this.#makeOne(metadata.name))) return;
    }
  }

  /** As the Deployment's controller does it, a look at a time. */
  async #roll(): Promise<void> {
    const { replicas: wanted, strategy } = (this.#after as App).spec;
    const { maxSurge, maxUnavailable } = strategy?.rollingUpdate ?? {
      maxSurge: Math.ceil(wanted / 4),
      maxUnavailable: Math.floor(wanted / 4),
    };
    const unavailable = maxSurge + maxUnavailable === 0 ? 1 : maxUnavailable;
    const [old, fresh] = [this.#pods.map(({ metadata }) => metadata.name), [] as string[]];
    const runs = (name: string) => this.#lab.isRunning(name);
    const drop = async (name: string) => {
      old.splice(old.indexOf(name), 1);
      await this.#lab.endPod(name);
    };
    for (let before = ""; before !== JSON.stringify([old, fresh.map(runs)]); ) {
      before = JSON.stringify([old, fresh.map(runs)]);
      for (const name of fresh.filter((one) => !runs(one))) await this.#lab.retry(name);
      while (fresh.length < wanted && old.length + fresh.length < wanted + maxSurge) {
        fresh.push(this.#nextName());
        await this.#make(fresh.at(-1) ?? "");
      }
      const least = wanted - unavailable;
      const count = (list: readonly string[]) => list.filter(runs).length;
      for (let name = old.findLast((one) => !runs(one)); name !== undefined && old.length + count(fresh) > least; ) {
        await drop(name);
        name = old.findLast((one) => !runs(one));
      }
      for (let name = old.findLast(runs); name !== undefined && count(old) + count(fresh) > least; ) {
        await drop(name);
        name = old.findLast(runs);
      }
    }
    this.stuck.push(...fresh.filter((one) => !runs(one)).map(() => this.#name));
  }

  async #makeOne(name: string): Promise<boolean> {
    if (await this.#make(name)) return true;
    this.stuck.push(this.#kind === "StatefulSet" ? name : this.#name);
    return false;
  }

  async #make(name: string): Promise<boolean> {
    const { template } = (this.#after as App).spec;
    const node = template.spec.nodeSelector["kubernetes.io/hostname"] ?? "";
    const { annotations } = template.metadata;
    return (await this.#lab.makePod({ name, node, annotations, owner: this.#owner })) === undefined;
  }

  #nextName(): string {
    return `${this.#name}-${this.#lab.nextNumber()}`;
  }

  /** Pods of a Deployment are owned by its ReplicaSet. */
  #ownerOf(app: App | undefined): OwnerReference {
    const { name = "", uid = "" } = app?.metadata ?? {};
    const top = { apiVersion: "apps/v1", kind: this.#kind, name, uid, controller: true };
    if (this.#kind !== "Deployment") return top;
    const metadata = { namespace: "default", name: `${name}-${uid}`, ownerReferences: [top] };
    const set = this.#lab.api.apply<KubeObject>(replicaSets as never, { metadata, spec: {} });
    return { ...top, kind: "ReplicaSet", name: set.metadata.name, uid: set.metadata.uid };
  }
}

function ordinalOf({ metadata }: Pod): number {
  return Number(metadata.name.split("-").at(-1));
}

/** Pods that do not run go first, then the youngest. */
function rankOf(lab: PlanLab, { metadata }: Pod): number {
  return (lab.isRunning(metadata.name) ? 0 : 1e15) + Date.parse(metadata.creationTimestamp ?? "");
}

/** `default/web-3` of a Deployment without what is of chance in it. */
export function anonymous(pod: string): string {
  return /\/(web|api)-/.test(pod) ? pod.replace(/-.*$/, "") : pod;
}
