import {
  apiGroup,
  apiVersion,
  formatViolation,
  networkAttachmentDefinitions,
  renderNetwork,
  type SpiderMultusConfig,
  spiderMultusConfigs,
} from "#api";
import type { WorkloadObject } from "#ipam";
import { apiVersionOf, type KubeObject, keyOf, type ObjectMeta, type OwnerReference, type Pod } from "#kube";
import type { Manifest } from "../manifests.ts";
import { templateIn } from "../pod-template.ts";
import { violationsOfKind } from "../schema/kinds.ts";
import { Judge, type Judged } from "./judge.ts";
import { applied } from "./merge.ts";
import { type Change, kindOf, type StoredWorkload } from "./state.ts";
import { type World, workloadKey } from "./world.ts";

/** An object of the change that admission would refuse. */
interface Refusal {
  /** `spiderippool/a` */
  readonly object: string;
  readonly why: string;
}

/** The part of a change that admission accepts. */
export interface Admitted {
  readonly refused: readonly Refusal[];
  /** Keys of new, changed or deleted workloads, each with its former state. */
  readonly workloads: ReadonlyMap<string, StoredWorkload | undefined>;
  /** Names of pools that the change itself creates, changes or deletes. */
  readonly pools: ReadonlySet<string>;
  /** `Kind/namespace/name` of objects that addresses do not depend on. */
  readonly ignored: readonly string[];
  /** Sentences about changes that the product itself would undo. */
  readonly undone: readonly string[];
}

/**
 * Applies a change to the world, object by object in the order of the file, as far as the rules of admission accept it.
 * `namespace` is for objects that name none.
 */
export function admit(world: World, change: Change, namespace: string): Admitted {
  const admission = new Admission(world, namespace);
  for (const manifest of change.applied) admission.apply(manifest);
  for (const manifest of change.deleted) admission.delete(manifest);
  world.changed();
  return admission;
}

const ours = `${apiGroup}/${apiVersion}`;
const network = `${apiVersionOf(networkAttachmentDefinitions)} ${networkAttachmentDefinitions.kind}`;
const namespaceNameLabel = "kubernetes.io/metadata.name";
const clock = "1970-01-01T00:00:00Z";

class Admission implements Admitted {
  readonly refused: Refusal[] = [];
  readonly workloads = new Map<string, StoredWorkload | undefined>();
  readonly pools = new Set<string>();
  readonly ignored: string[] = [];
  readonly undone: string[] = [];
  readonly #world: World;
  readonly #judge: Judge;
  readonly #namespace: string;

  constructor(world: World, namespace: string) {
    this.#world = world;
    this.#judge = new Judge(world);
    this.#namespace = namespace;
  }

  apply(manifest: Manifest): void {
    const { pools, subnets, reservations, namespaces, nodes, nads } = this.#world;
    const judge = this.#judge;
    const { name } = manifest.metadata;
    if (name === undefined) throw new TypeError(`a manifest of a change has a name: ${manifest.kind} has none`);
    switch (`${manifest.apiVersion} ${manifest.kind}`) {
      case `${ours} SpiderIPPool`:
        if (this.#put(manifest, pools, (pool, old) => judge.pool(pool, old), judge.pools)) this.pools.add(name);
        return;
      case `${ours} SpiderSubnet`:
        this.#put(manifest, subnets, (subnet, old) => judge.subnet(subnet, old), judge.subnets);
        return;
      case `${ours} SpiderReservedIP`:
        this.#put(manifest, reservations, (reserved, old) => judge.reservation(reserved, old));
        return;
      case `${ours} SpiderMultusConfig`:
        this.#putMultusConfig(this.#placed(manifest));
        return;
      case network:
        this.#put(this.#placed(manifest), nads);
        return;
      case "v1 Namespace":
        this.#put(labelled(manifest), namespaces);
        return;
      case "v1 Node":
        this.#put(manifest, nodes);
        return;
      case "v1 Pod":
        this.#putPod(this.#placed(manifest));
        return;
      default:
        this.#putWorkload(manifest);
    }
  }

  delete(manifest: Manifest): void {
    const { pools, subnets, reservations, pods } = this.#world;
    const judge = this.#judge;
    const { name = "" } = manifest.metadata;
    switch (`${manifest.apiVersion} ${manifest.kind}`) {
      case `${ours} SpiderIPPool`:
        if (this.#terminate(manifest, pools, judge.pools, (pool) => judge.keepsPool(pool))) this.pools.add(name);
        return;
      case `${ours} SpiderSubnet`:
        this.#terminate(manifest, subnets, judge.subnets, (subnet) => judge.keepsSubnet(subnet));
        return;
      case `${ours} SpiderReservedIP`:
        reservations.delete(name);
        return;
      case `${ours} SpiderMultusConfig`:
        this.#deleteMultusConfig(this.#placed(manifest));
        return;
      case network:
        this.#deleteNetwork(this.#keyOf(manifest));
        return;
      case "v1 Pod": {
        const pod = pods.get(this.#keyOf(manifest));
        if (pod !== undefined) this.#world.end(pod, "the Pod is deleted");
        return;
      }
      default:
        this.#deleteWorkload(manifest);
    }
  }

  /** Judges the new object, and stores it, in the index, too, if nothing is wrong. Returns whether it is stored. */
  #put<T extends KubeObject>(
    manifest: Manifest,
    into: Map<string, T>,
    judge: (object: T, old: T | undefined) => Judged<T> = (object) => ({ object, violations: [] }),
    index?: { put(object: T): void },
  ): boolean {
    const key = keyOf({ name: "", ...manifest.metadata });
    const old = into.get(key);
    const sent = old === undefined ? (this.#new(manifest) as unknown as T) : applied(old, manifest);
    const bySchema = violationsOfKind({ ...sent, kind: manifest.kind ?? "" });
    if (bySchema.length > 0) {
      this.#refuse(manifest, bySchema.map(({ field, message }) => `${field}: ${message}`).join("; "));
      return false;
    }
    const { object, violations } = judge(sent, old);
    if (violations.length > 0) {
      this.#refuse(manifest, violations.map(formatViolation).join("; "));
      return false;
    }
    const generation = (old?.metadata.generation ?? 0) + 1;
    const stored = { ...object, metadata: { ...object.metadata, generation } };
    into.set(key, stored);
    index?.put(stored);
    this.#world.changed();
    return true;
  }

  /** Lets a pool or subnet begin to go, unless a rule keeps it. Returns whether it does. */
  #terminate<T extends KubeObject>(
    manifest: Manifest,
    from: Map<string, T>,
    index: { put(object: T): void },
    keeps: (object: T) => string | undefined,
  ): boolean {
    const { name = "" } = manifest.metadata;
    const old = from.get(name);
    if (old === undefined || old.metadata.deletionTimestamp !== undefined) return false;
    const why = keeps(old);
    if (why !== undefined) {
      this.#refuse(manifest, why);
      return false;
    }
    const going = { ...old, metadata: { ...old.metadata, deletionTimestamp: clock } };
    from.set(name, going);
    index.put(going);
    this.#world.changed();
    return true;
  }

  /** A new bare Pod is a workload until it is started. */
  #putPod(manifest: Manifest): void {
    const { pods, workloads } = this.#world;
    const key = this.#keyOf(manifest);
    if (pods.has(key)) {
      this.#put(manifest, pods);
      return;
    }
    this.workloads.set(`Pod/${key}`, undefined);
    workloads.set(`Pod/${key}`, { ...this.#new(manifest), apiVersion: "v1", kind: "Pod" });
  }

  /** A SpiderMultusConfig counts by the network that the controller makes of it. */
  #putMultusConfig(manifest: Manifest): void {
    const { nads } = this.#world;
    const configs = new Map<string, SpiderMultusConfig>();
    this.#put(manifest, configs, (sent, old) => this.#judge.multusConfig(sent, old));
    const [config] = configs.values();
    if (config === undefined) return;
    const made = renderNetwork(config);
    const metadata = { uid: this.#world.newUid(), resourceVersion: "", ...made.metadata };
    nads.set(keyOf(metadata), { ...made, metadata });
  }

  #deleteMultusConfig({ metadata: { namespace, name } }: Manifest): void {
    for (const [key, { metadata }] of this.#world.nads) {
      if (metadata.namespace === namespace && makerOf(metadata)?.name === name) this.#world.nads.delete(key);
    }
  }

  /** The controller makes the network of a SpiderMultusConfig again. */
  #deleteNetwork(key: string): void {
    const maker = makerOf(this.#world.nads.get(key)?.metadata);
    if (maker === undefined) this.#world.nads.delete(key);
    else {
      const why = `spiderpool-controller makes it again from SpiderMultusConfig ${maker.name}; delete that instead`;
      this.undone.push(`${networkAttachmentDefinitions.kind} ${key} would not stay deleted: ${why}`);
    }
  }

  #putWorkload(manifest: Manifest): void {
    const key = this.#workloadKeyOf(manifest);
    if (key === undefined) {
      this.ignored.push(this.#said(manifest));
      return;
    }
    const { workloads } = this.#world;
    const old = workloads.get(key);
    const sent = old === undefined ? this.#new(this.#placed(manifest)) : applied(old, this.#placed(manifest));
    const { apiVersion: version = "", kind = "" } = manifest;
    const inside = templateIn({ ...sent, kind });
    if (inside !== undefined && inside.template === undefined) {
      // An applied file describes the whole object: fields of an earlier file that it leaves out are removed.
      this.#refuse(manifest, `${inside.path.join(".")}: Required value: give the whole ${kind}, as in its file`);
      return;
    }
    const { spec = {} } = sent as WorkloadObject;
    // The API server fills in one replica if a new workload does not say how many.
    const filled = kind.endsWith("Set") || kind === "Deployment" ? { replicas: 1, ...spec } : spec;
    workloads.set(key, { ...sent, spec: filled, apiVersion: version, kind } as StoredWorkload);
    if (!this.workloads.has(key)) this.workloads.set(key, old);
  }

  #deleteWorkload(manifest: Manifest): void {
    const { workloads } = this.#world;
    const key = this.#workloadKeyOf(manifest);
    if (key === undefined) {
      this.ignored.push(this.#said(manifest));
      return;
    }
    const old = workloads.get(key);
    if (old === undefined) return;
    workloads.delete(key);
    this.workloads.set(key, old);
  }

  #refuse({ kind = "", metadata }: Manifest, why: string): void {
    this.refused.push({ object: `${kind.toLowerCase()}/${metadata.name}`, why });
  }

  #new(manifest: Manifest): KubeObject {
    const { metadata } = manifest;
    const more = { name: metadata.name ?? "", uid: this.#world.newUid(), resourceVersion: "" };
    return { ...manifest, metadata: { ...metadata, ...more } } as unknown as KubeObject;
  }

  /** The object in its namespace, by default that of the command line. */
  #placed(manifest: Manifest): Manifest {
    const { namespace = this.#namespace } = manifest.metadata;
    return { ...manifest, metadata: { ...manifest.metadata, namespace } };
  }

  #keyOf(manifest: Manifest): string {
    return keyOf({ name: "", ...this.#placed(manifest).metadata });
  }

  #workloadKeyOf(manifest: Manifest): string | undefined {
    const { apiVersion = "", kind = "" } = manifest;
    if (kindOf({ apiVersion, kind }) === undefined) return undefined;
    return workloadKey({
      kind,
      metadata: { uid: "", resourceVersion: "", name: "", ...this.#placed(manifest).metadata },
    });
  }

  #said({ kind, metadata }: Manifest): string {
    return `${kind}/${keyOf({ name: "", ...metadata })}`;
  }
}

/** Every Namespace has a label with its name, which the API server adds. */
function labelled(manifest: Manifest): Manifest {
  const { name = "", labels } = manifest.metadata;
  return { ...manifest, metadata: { ...manifest.metadata, labels: { ...labels, [namespaceNameLabel]: name } } };
}

/** A new bare Pod among the workloads, as the Pod that it is to be. */
export function asPod({ metadata, spec }: StoredWorkload): Pod {
  return { metadata, spec: spec ?? {}, status: {} } as unknown as Pod;
}

/** The SpiderMultusConfig that the controller makes the network from. */
function makerOf(network: Partial<ObjectMeta> | undefined): OwnerReference | undefined {
  return network?.ownerReferences?.find(({ kind }) => kind === spiderMultusConfigs.kind);
}
