import {
  AddressIndex,
  apiGroup,
  apiVersion,
  defaultMultusConfig,
  defaultPool,
  defaultReservedIp,
  defaultSubnet,
  formatViolation,
  networkAttachmentDefinitions,
  networkNameOf,
  removedAddresses,
  renderNetwork,
  type SpiderIPPool,
  type SpiderMultusConfig,
  type SpiderReservedIP,
  type SpiderSubnet,
  type Submitted,
  spiderMultusConfigs,
  subnetNameOf,
  type Violation,
  validateMultusConfig,
  validatePool,
  validateReservedIp,
  validateSubnet,
} from "#api";
import { compareIp } from "#ip";
import type { WorkloadObject } from "#ipam";
import { apiVersionOf, type KubeObject, keyOf, type ObjectMeta, type OwnerReference, type Pod } from "#kube";
import { isHeld } from "#ledger";
import type { Manifest } from "../manifests.ts";
import { templateIn } from "../pod-template.ts";
import { violationsOfKind } from "../schema/kinds.ts";
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
  /** The world's pools and subnets by their addresses. */
  readonly #poolIndex: AddressIndex<SpiderIPPool>;
  readonly #subnetIndex: AddressIndex<SpiderSubnet>;
  readonly #namespace: string;

  constructor(world: World, namespace: string) {
    this.#world = world;
    this.#poolIndex = AddressIndex.of(world.pools.values());
    this.#subnetIndex = AddressIndex.of(world.subnets.values());
    this.#namespace = namespace;
  }

  apply(manifest: Manifest): void {
    const { pools, subnets, reservations, namespaces, nodes, pods, workloads } = this.#world;
    const { name } = manifest.metadata;
    if (name === undefined) throw new TypeError(`a manifest of a change has a name: ${manifest.kind} has none`);
    switch (`${manifest.apiVersion} ${manifest.kind}`) {
      case `${ours} SpiderIPPool`:
        if (this.#put(manifest, pools, (pool, old) => this.#judgePool(pool, old), this.#poolIndex))
          this.pools.add(name);
        return;
      case `${ours} SpiderSubnet`:
        this.#put(manifest, subnets, (subnet, old) => this.#judgeSubnet(subnet, old), this.#subnetIndex);
        return;
      case `${ours} SpiderReservedIP`:
        this.#put(manifest, reservations, (reserved, old) => {
          const object = defaultReservedIp(reserved) as SpiderReservedIP;
          return { object, violations: validateReservedIp(object, { old, families: this.#settings }) };
        });
        return;
      case `${ours} SpiderMultusConfig`:
        this.#putMultusConfig(this.#placed(manifest));
        return;
      case network:
        this.#put(this.#placed(manifest), this.#world.nads);
        return;
      case "v1 Namespace":
        this.#put(labelled(manifest), namespaces);
        return;
      case "v1 Node":
        this.#put(manifest, nodes);
        return;
      case "v1 Pod": {
        const key = this.#keyOf(manifest);
        if (pods.has(key)) {
          this.#put(this.#placed(manifest), pods);
          return;
        }
        this.workloads.set(`Pod/${key}`, undefined);
        workloads.set(`Pod/${key}`, { ...this.#new(this.#placed(manifest)), apiVersion: "v1", kind: "Pod" });
        return;
      }
      default:
        this.#putWorkload(manifest);
    }
  }

  delete(manifest: Manifest): void {
    const { pools, subnets, reservations, pods } = this.#world;
    const { name = "" } = manifest.metadata;
    switch (`${manifest.apiVersion} ${manifest.kind}`) {
      case `${ours} SpiderIPPool`:
        this.#deletePool(name, pools.get(name));
        return;
      case `${ours} SpiderSubnet`:
        this.#deleteSubnet(name, subnets.get(name));
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
      default: {
        const key = this.#workloadKeyOf(manifest);
        const old = key === undefined ? undefined : this.#world.workloads.get(key);
        if (key === undefined) this.ignored.push(this.#said(manifest));
        if (key === undefined || old === undefined) return;
        this.#world.workloads.delete(key);
        this.workloads.set(key, old);
      }
    }
  }

  get #settings() {
    return this.#world.installation.settings;
  }

  /** Judges the new object, and stores it if nothing is wrong. Returns whether it is stored. */
  #put<T extends KubeObject>(
    manifest: Manifest,
    into: Map<string, T>,
    judge?: (object: T, old: T | undefined) => { readonly object: T; readonly violations: readonly Violation[] },
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
    const { object, violations } = judge?.(sent, old) ?? { object: sent, violations: [] };
    if (violations.length === 0) {
      const generation = (old?.metadata.generation ?? 0) + 1;
      const stored = { ...object, metadata: { ...object.metadata, generation } };
      into.set(key, stored);
      index?.put(stored);
      this.#world.changed();
      return true;
    }
    this.#refuse(manifest, violations.map(formatViolation).join("; "));
    return false;
  }

  #judgePool(sent: SpiderIPPool, old: SpiderIPPool | undefined) {
    const { subnets, claims } = this.#world;
    const { enableSpiderSubnet } = this.#settings;
    const object = defaultPool(sent, enableSpiderSubnet ? this.#subnetIndex : undefined);
    const owner = subnetNameOf(object);
    const removed = old && removedAddresses(old, object);
    const inUse = [...(removed?.isEmpty === false ? claims.values() : [])]
      .filter(
        (claim) => removed?.contains(claim.ip) && claim.spec.purpose !== "Hold" && claim.spec.purpose !== "Quarantine",
      )
      .toSorted((a, b) => compareIp(a.ip, b.ip))
      .map(({ ip, spec }) => ({
        ip,
        pod: spec.podName === undefined ? spec.purpose : `${spec.podNamespace}/${spec.podName}`,
      }));
    const subnet = owner === undefined ? undefined : subnets.get(owner);
    const context = { old, others: this.#poolIndex, subnet, inUse, families: this.#settings };
    return { object, violations: validatePool(object, context) };
  }

  #judgeSubnet(sent: SpiderSubnet, old: SpiderSubnet | undefined) {
    const object = defaultSubnet(sent as Submitted<SpiderSubnet>) as SpiderSubnet;
    const context = { old, others: this.#subnetIndex, pools: this.#poolIndex, families: this.#settings };
    return { object, violations: validateSubnet(object, context) };
  }

  /** A SpiderMultusConfig counts by the network that the controller makes of it. */
  #putMultusConfig(manifest: Manifest): void {
    const { nads } = this.#world;
    const configs = new Map<string, SpiderMultusConfig>();
    const isTaken = this.#put(manifest, configs, (sent, old) => {
      const object = defaultMultusConfig(sent, old);
      const { namespace = "", name } = object.metadata;
      const there = nads.get(keyOf({ namespace, name: networkNameOf(object) ?? name }));
      return { object, violations: validateMultusConfig(object, { old, network: there }) };
    });
    const config = isTaken ? configs.get(this.#keyOf(manifest)) : undefined;
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

  #deletePool(name: string, pool: SpiderIPPool | undefined): void {
    if (pool === undefined || pool.metadata.deletionTimestamp !== undefined) return;
    const holders = this.#world
      .claimsOf(pool)
      .filter((claim) => isHeld(claim) && claim.spec.poolUID === pool.metadata.uid);
    if (this.#settings.enableValidatingResourcesDeletedWebhook && holders.length > 0) {
      const why = `cannot delete an IPPool with allocated IPs(${holders.length})`;
      this.refused.push({ object: `spiderippool/${name}`, why });
      return;
    }
    this.pools.add(name);
    this.#world.pools.set(name, terminating(pool));
    this.#poolIndex.put(terminating(pool));
    this.#world.changed();
  }

  #deleteSubnet(name: string, subnet: SpiderSubnet | undefined): void {
    if (subnet === undefined || subnet.metadata.deletionTimestamp !== undefined) return;
    const { allocatedIPCount: count = 0 } = subnet.status ?? {};
    if (this.#settings.enableValidatingResourcesDeletedWebhook && count > 0) {
      const why = `cannot delete an Subnet with allocated IPs(${count})`;
      this.refused.push({ object: `spidersubnet/${name}`, why });
      return;
    }
    this.#world.subnets.set(name, terminating(subnet));
    this.#subnetIndex.put(terminating(subnet));
    this.#world.changed();
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

function terminating<T extends KubeObject>(object: T): T {
  return { ...object, metadata: { ...object.metadata, deletionTimestamp: clock } };
}

/** A new bare Pod among the workloads, as the Pod that it is to be. */
export function asPod({ metadata, spec }: StoredWorkload): Pod {
  return { metadata, spec: spec ?? {}, status: {} } as unknown as Pod;
}

/** The SpiderMultusConfig that the controller makes the network from. */
function makerOf(network: Partial<ObjectMeta> | undefined): OwnerReference | undefined {
  return network?.ownerReferences?.find(({ kind }) => kind === spiderMultusConfigs.kind);
}
