import { builtinResources } from "../kinds/builtins.ts";
import { customResources } from "../kinds/crds.ts";
import { groupVersion, type Resource } from "../resource.ts";
import type { KubeObject } from "../types.ts";
import type { Store } from "./store.ts";

/** Where definitions themselves are stored. */
export const crdTable = "apiextensions.k8s.io/customresourcedefinitions";

/** The resources that are served now: the built-in ones and those of the definitions in the store. */
export class Registry {
  readonly #byCrd = new Map<string, readonly Resource[]>();
  #all: readonly Resource[] = builtinResources;
  #byPath = new Map<string, Resource>();
  #revision = 0;

  constructor(store: Store) {
    this.#index();
    store.listen(crdTable, (change) => this.#define(change.object, change.type === "DELETED"));
  }

  /** Changes with the set of resources. Clients cache discovery documents by it. */
  get revision(): number {
    return this.#revision;
  }

  all(): readonly Resource[] {
    return this.#all;
  }

  find(apiVersion: string, plural: string): Resource | undefined {
    return this.#byPath.get(`${apiVersion}/${plural}`);
  }

  byKind(apiVersion: string, kind: string): Resource | undefined {
    return this.#all.find((resource) => resource.kind === kind && groupVersion(resource) === apiVersion);
  }

  /** A served version of the resource whose objects are in this table. */
  byTable(table: string): Resource | undefined {
    return this.#all.find((resource) => resource.table === table);
  }

  #define(crd: KubeObject, gone: boolean): void {
    if (gone) this.#byCrd.delete(crd.metadata.name);
    else this.#byCrd.set(crd.metadata.name, customResources(crd));
    this.#index();
  }

  #index(): void {
    this.#revision += 1;
    this.#all = [...builtinResources, ...[...this.#byCrd.values()].flat()];
    this.#byPath = new Map(this.#all.map((resource) => [`${groupVersion(resource)}/${resource.plural}`, resource]));
  }
}
