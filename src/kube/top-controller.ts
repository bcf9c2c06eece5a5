import type { Signal } from "#base";
import type { KubeClient } from "./client.ts";
import { jobs, type Pod, replicaSets } from "./kinds/core.ts";
import {
  controllerOf,
  type KubeObject,
  metadataOf,
  type ObjectRef,
  type OwnerReference,
  parseApiVersion,
  type Resource,
} from "./kinds/resource.ts";

/** The outermost owner that users know: the Deployment, not its ReplicaSet; the CronJob, not its Job. */
export interface TopController {
  /** Empty for the core group. */
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

const cacheMax = 1_000;

/** Finds top controllers; the owners of ReplicaSets and Jobs never change and are remembered. */
export class TopControllers {
  readonly #client: KubeClient;
  readonly #ownerOf = new Map<string, OwnerReference | undefined>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Undefined for a bare Pod. Only one further level is climbed, and only for ReplicaSets and Jobs. */
  async of(pod: Pod, o: Signal): Promise<TopController | undefined> {
    const { namespace = "" } = pod.metadata;
    const owner = controllerOf(pod);
    if (owner === undefined) return undefined;
    const above = await this.#above(owner, namespace, o);
    return facts(above ?? owner, namespace);
  }

  async #above(owner: OwnerReference, namespace: string, o: Signal): Promise<OwnerReference | undefined> {
    const climb = climbs.find(({ from }) => isKind(owner, from));
    if (climb === undefined) return undefined;
    if (this.#ownerOf.has(owner.uid)) return this.#ownerOf.get(owner.uid);
    const object = await this.#client.get(metadataOf(climb.resource), { namespace, name: owner.name }, o);
    const found = object?.metadata.uid === owner.uid ? controllerOf(object) : undefined;
    const above = found !== undefined && isKind(found, climb.to) ? found : undefined;
    const [oldest] = this.#ownerOf.keys();
    if (this.#ownerOf.size >= cacheMax && oldest !== undefined) this.#ownerOf.delete(oldest);
    this.#ownerOf.set(owner.uid, above);
    return above;
  }
}

/** The same of objects that were read before: `find` gives the ReplicaSet or Job of that name. */
export function topControllerAmong(
  pod: Pod,
  find: (resource: Resource<KubeObject>, ref: ObjectRef) => KubeObject | undefined,
): TopController | undefined {
  const { namespace = "" } = pod.metadata;
  const owner = controllerOf(pod);
  if (owner === undefined) return undefined;
  const climb = climbs.find(({ from }) => isKind(owner, from));
  const object = climb && find(climb.resource, { namespace, name: owner.name });
  const above = object?.metadata.uid === owner.uid ? controllerOf(object) : undefined;
  return facts(above !== undefined && climb !== undefined && isKind(above, climb.to) ? above : owner, namespace);
}

/** A ReplicaSet or Job that anything else owns is itself the top. */
const climbs: readonly { readonly from: string; readonly to: string; readonly resource: Resource<KubeObject> }[] = [
  { from: "apps/v1 ReplicaSet", to: "apps/v1 Deployment", resource: replicaSets },
  { from: "batch/v1 Job", to: "batch/v1 CronJob", resource: jobs },
];

function isKind({ apiVersion, kind }: OwnerReference, wanted: string): boolean {
  return `${apiVersion} ${kind}` === wanted;
}

function facts({ apiVersion, kind, name, uid }: OwnerReference, namespace: string): TopController {
  const { group, version } = parseApiVersion(apiVersion);
  return { apiGroup: group, apiVersion: version, kind, namespace, name, uid };
}
