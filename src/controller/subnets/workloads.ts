import { isDeepStrictEqual } from "node:util";
import {
  cronJobs,
  daemonSets,
  deployments,
  jobs,
  type KubeObject,
  type Resource,
  replicaSets,
  type Source,
  type Store,
  statefulSets,
  WatchedStore,
} from "#kube";
import type { Deps } from "../deps.ts";
import { type Demands, demandsOf, type PodTemplate } from "./demands.ts";

/** A workload, reduced to what its pools depend on. */
export interface Workload extends KubeObject {
  /** Absent where its Pods ask for no pool of a subnet. */
  readonly demands?: Demands;
}

/** What is read of a workload of any of the kinds. */
interface Whole extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly completions?: number;
    readonly parallelism?: number;
    readonly template?: PodTemplate;
    readonly jobTemplate?: { readonly spec?: Whole["spec"] };
  };
  readonly status?: { readonly desiredNumberScheduled?: number };
}

interface Kind {
  readonly resource: Resource<Workload>;
  readonly template: (workload: Whole) => PodTemplate | undefined;
  /** How many Pods there are at once. */
  readonly replicas: (workload: Whole) => number;
  /** The kind of owner whose application this one is a part of. */
  readonly partOf?: string;
}

const template = ({ spec }: Whole) => spec?.template;
const scaled = { template, replicas: ({ spec }: Whole) => spec?.replicas ?? 0 };
const podsOfJob = ({ completions, parallelism = 1 }: NonNullable<Whole["spec"]> = {}) =>
  (completions ?? parallelism) || 1;

const kinds: readonly Kind[] = [
  { resource: deployments, ...scaled },
  { resource: replicaSets, ...scaled, partOf: "Deployment" },
  { resource: statefulSets, ...scaled },
  { resource: daemonSets, template, replicas: ({ status }) => status?.desiredNumberScheduled ?? 0 },
  { resource: jobs, template, replicas: ({ spec }) => podsOfJob(spec), partOf: "CronJob" },
  {
    resource: cronJobs,
    template: ({ spec }) => spec?.jobTemplate?.spec?.template,
    replicas: ({ spec }) => podsOfJob(spec?.jobTemplate?.spec),
  },
];

/** The applications of all kinds that get automatic pools, as far as their pools depend on them. */
export class Workloads {
  readonly stores: readonly WatchedStore<Workload>[];

  constructor({ client, clock, log, settings }: Deps) {
    const indexes = {
      uid: ({ metadata }: Workload) => [metadata.uid],
      subnet: ({ demands }: Workload) => (demands?.kind === "wanted" ? demands.list.map(({ subnet }) => subnet) : []),
    };
    this.stores = kinds.map(
      (kind) =>
        new WatchedStore<Workload>({
          ...{ client, clock, log, indexes, resource: kind.resource },
          trim: (workload) => reduced(kind, workload, settings.redundantIpNumber),
        }),
    );
  }

  /** Those that demand a part of the subnet. */
  of(subnet: string): readonly Workload[] {
    return this.stores.flatMap((store) => store.by("subnet", subnet));
  }

  /** Undefined: there is none with this UID. */
  withUid(uid: string): Workload | undefined {
    return this.stores.flatMap((store) => store.by("uid", uid))[0];
  }

  /** The names of the subnets whose demands changed; `ofApplication`: in which subnets an application has pools already. */
  source(ofApplication: (uid: string) => readonly string[]): Source {
    return changesOf(
      this.stores,
      ({ demands, metadata: { uid } }) => ({ demands, uid }),
      ({ demands, metadata: { uid } }) => [
        ...(demands?.kind === "wanted" ? demands.list.map(({ subnet }) => subnet) : []),
        ...ofApplication(uid),
      ],
    );
  }

  /** The UIDs of workloads whose demands cannot be read. */
  broken(): Source {
    const uids = ({ demands, metadata }: Workload) => (demands?.kind === "broken" ? [metadata.uid] : []);
    return changesOf(this.stores, ({ demands }) => demands, uids);
  }
}

function reduced({ resource, template, replicas, partOf }: Kind, workload: Whole, redundant: number): Workload {
  const { name, namespace = "", uid, resourceVersion, ownerReferences = [] } = workload.metadata;
  const metadata = { name, namespace, uid, resourceVersion };
  if (ownerReferences.some(({ controller, kind }) => controller === true && kind === partOf)) return { metadata };
  const { group: apiGroup, version: apiVersion, kind } = resource;
  const facts = { apiGroup, apiVersion, kind, metadata, redundant };
  const demands = demandsOf({ ...facts, template: template(workload), replicas: replicas(workload) });
  return { metadata, ...(demands !== undefined && { demands }) };
}

/** The resource of a kind that has automatic pools. */
export function resourceOf({
  apiGroup,
  apiVersion,
  kind,
}: { readonly [key in "apiGroup" | "apiVersion" | "kind"]: string }) {
  return kinds.find(({ resource: r }) => r.group === apiGroup && r.version === apiVersion && r.kind === kind)?.resource;
}

/** Keys of objects in stores, told only where `versionOf` an object changed: most writes concern nobody here. */
export function changesOf<T extends KubeObject>(
  stores: readonly Store<T>[],
  versionOf: (object: T) => unknown,
  keysOf: (object: T) => readonly string[],
): Source {
  return {
    synced: async (o) => void (await Promise.all(stores.map((store) => store.synced(o)))),
    subscribe: (add) => {
      const report = (object: T | undefined) => {
        for (const key of object === undefined ? [] : keysOf(object)) add(key);
      };
      const ends = stores.map((store) => {
        for (const object of store.list()) report(object);
        return store.changed((_key, now, before) => {
          if (now && before && isDeepStrictEqual(versionOf(now), versionOf(before))) return;
          report(before);
          report(now);
        });
      });
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
