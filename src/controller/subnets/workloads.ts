import { isDeepStrictEqual } from "node:util";
import { type Demands, demandsOfWorkload, type WorkloadKind, type WorkloadObject, workloadKinds } from "#ipam";
import { type KubeObject, metadataOf, namespaces, type Resource, type Source, type Store, WatchedStore } from "#kube";
import type { Deps } from "../deps.ts";

/** A workload, trimmed to what its pools depend on. */
interface Workload extends KubeObject {
  /** Absent if its Pods request no pool of a subnet. */
  readonly demands?: Demands;
}

/** Stores of every kind of application that can have automatic pools, and of their namespaces. */
export class Workloads {
  readonly #kinds: readonly WatchedStore<Workload>[];
  readonly #namespaces: WatchedStore<KubeObject>;

  constructor({ client, clock, log, settings }: Deps) {
    const indexes = {
      uid: ({ metadata }: Workload) => [metadata.uid],
      subnet: ({ demands }: Workload) => (demands?.kind === "wanted" ? demands.list.map(({ subnet }) => subnet) : []),
    };
    this.#namespaces = new WatchedStore({
      client,
      clock,
      log,
      resource: metadataOf(namespaces),
      trim: ({ metadata: { name, uid, resourceVersion, labels } }) => ({
        metadata: { name, uid, resourceVersion, ...(labels !== undefined && { labels }) },
      }),
    });
    this.#kinds = workloadKinds.map(
      (kind) =>
        new WatchedStore<Workload>({
          client,
          clock,
          log,
          indexes,
          resource: kind.resource as Resource<Workload>,
          trim: (workload) => reduced(kind, workload, settings.redundantIpNumber),
        }),
    );
  }

  /** All stores that must run. */
  get stores(): readonly WatchedStore<KubeObject>[] {
    return [...this.#kinds, this.#namespaces];
  }

  /** The labels of a namespace; undefined if the watch does not show it (yet). */
  labelsOf(namespace: string): Readonly<Record<string, string>> | undefined {
    const found = this.#namespaces.get(namespace);
    return found && (found.metadata.labels ?? {});
  }

  /** The workloads that demand a part of the subnet. */
  of(subnet: string): readonly Workload[] {
    return this.#kinds.flatMap((store) => store.by("subnet", subnet));
  }

  /** The workload with this UID, if there is one. */
  withUid(uid: string): Workload | undefined {
    return this.#kinds.flatMap((store) => store.by("uid", uid))[0];
  }

  /** Gives the names of subnets whose demands change. `ofApplication`: the subnets in which an application has pools already. */
  source(ofApplication: (uid: string) => readonly string[]): Source {
    return changesOf(
      this.#kinds,
      ({ demands, metadata: { uid } }) => ({ demands, uid }),
      ({ demands, metadata: { uid } }) => [
        ...(demands?.kind === "wanted" ? demands.list.map(({ subnet }) => subnet) : []),
        ...ofApplication(uid),
      ],
    );
  }

  /** Gives all of `keys` whenever labels of a namespace change: a subnet may select namespaces by them. */
  scopes(keys: () => readonly string[]): Source {
    return changesOf([this.#namespaces], ({ metadata: { labels } }) => labels, keys);
  }

  /** Gives the UIDs of workloads whose demands are invalid. */
  broken(): Source {
    const uids = ({ demands, metadata }: Workload) => (demands?.kind === "broken" ? [metadata.uid] : []);
    return changesOf(this.#kinds, ({ demands }) => demands, uids);
  }
}

function reduced(kind: WorkloadKind, workload: WorkloadObject, redundant: number): Workload {
  const { name, namespace = "", uid, resourceVersion } = workload.metadata;
  const demands = demandsOfWorkload(kind, workload, redundant);
  return { metadata: { name, namespace, uid, resourceVersion }, ...(demands !== undefined && { demands }) };
}

/** Gives keys of objects in the stores whenever `versionOf` the object changes: most writes do not matter here. */
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
