import { groupVersion, type Resource } from "./resource.ts";
import type { ApiResponse } from "./types.ts";

/** The type that tells a client it got the aggregated form; it asks for the same. */
export const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const verbsOf: Readonly<Record<string, readonly string[]>> = {
  binding: ["create"],
  eviction: ["create"],
  exec: ["create", "get"],
  log: ["get"],
};
const subresourceVerbs = ["get", "patch", "update"];
/** Kinds of subresources that belong to another group than their resource. */
const foreignKinds: Readonly<Record<string, { readonly group: string; readonly version: string }>> = {
  Scale: { group: "autoscaling", version: "v1" },
  Eviction: { group: "policy", version: "v1" },
};

export const serverVersion = {
  major: "1",
  minor: "33",
  gitVersion: "v1.33.0-lab",
  gitCommit: "0000000000000000000000000000000000000000",
  gitTreeState: "clean",
  buildDate: "2026-01-01T00:00:00Z",
  goVersion: "none",
  compiler: "none",
  platform: "linux/amd64",
};

/** `/api` (core) or `/apis` (the rest) in the aggregated form. */
export function aggregated(resources: readonly Resource[], core: boolean): object {
  const groups = Map.groupBy(
    resources.filter((resource) => (resource.group === "") === core),
    (resource) => resource.group,
  );
  const items = [...groups].map(([name, members]) => ({
    metadata: { name, creationTimestamp: null },
    versions: [...Map.groupBy(members, (resource) => resource.version)].map(([version, served]) => ({
      version,
      freshness: "Current",
      resources: served.map(aggregatedResource),
    })),
  }));
  return { kind: "APIGroupDiscoveryList", apiVersion: "apidiscovery.k8s.io/v2", metadata: {}, items };
}

function aggregatedResource(resource: Resource): object {
  const scope = resource.namespaced ? "Namespaced" : "Cluster";
  const { group, version } = resource;
  return {
    resource: resource.plural,
    responseKind: { group, version, kind: resource.kind },
    scope,
    singularResource: resource.singular,
    verbs,
    shortNames: resource.shortNames,
    categories: resource.categories,
    subresources: Object.entries(resource.subresources).map(([subresource, kind]) => ({
      subresource,
      responseKind: { ...(foreignKinds[kind] ?? { group, version }), kind },
      verbs: verbsOf[subresource] ?? subresourceVerbs,
    })),
  };
}

/** `/apis` for clients that do not ask for the aggregated form. */
export function groupList(resources: readonly Resource[]): object {
  const named = resources.filter((resource) => resource.group !== "");
  const groups = [...Map.groupBy(named, (resource) => resource.group)].map(([name, members]) => {
    const versions = [...new Set(members.map(groupVersion))].map((text) => ({
      groupVersion: text,
      version: text.slice(name.length + 1),
    }));
    return { name, versions, preferredVersion: versions[0] };
  });
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** `/api/v1`, `/apis/apps/v1`; undefined where the group-version has no resources. */
export function resourceList(resources: readonly Resource[], apiVersion: string): object | undefined {
  const served = resources.filter((resource) => groupVersion(resource) === apiVersion);
  if (served.length === 0) return undefined;
  const lines = served.flatMap((resource) => {
    const { plural: name, singular: singularName, namespaced, kind, shortNames, categories } = resource;
    const subresources = Object.entries(resource.subresources).map(([subresource, subKind]) => ({
      name: `${name}/${subresource}`,
      singularName: "",
      namespaced,
      ...foreignKinds[subKind],
      kind: subKind,
      verbs: verbsOf[subresource] ?? subresourceVerbs,
    }));
    return [{ name, singularName, namespaced, kind, verbs, shortNames, categories }, ...subresources];
  });
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersion, resources: lines };
}

/** `/openapi/v3`: where the document of each group-version is; `hash` changes with the set of resources. */
export function openApiRoot(resources: readonly Resource[], hash: string): object {
  const paths = new Set(resources.map(pathOf));
  const entry = (path: string) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }];
  return { paths: Object.fromEntries([...paths].map(entry)) };
}

/**
 * `/openapi/v3/apis/G/V`: only what kubectl looks for before it leaves the checking of fields to the server, namely that
 * each kind's PATCH takes `fieldValidation`. It has no schemas: `kubectl explain` does not work.
 */
export function openApiDocument(resources: readonly Resource[], path: string): object | undefined {
  const served = resources.filter((resource) => pathOf(resource) === path);
  if (served.length === 0) return undefined;
  const parameters = ["dryRun", "fieldManager", "fieldValidation", "force"].map((name) => ({
    name,
    in: "query",
    schema: { type: name === "force" ? "boolean" : "string" },
  }));
  const operation = ({ group, version, kind }: Resource) => ({
    "x-kubernetes-action": "patch",
    "x-kubernetes-group-version-kind": { group, version, kind },
    parameters,
    responses: {},
  });
  const paths = served.map((resource) => [`/${path}/${resource.plural}/{name}`, { patch: operation(resource) }]);
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: serverVersion.gitVersion },
    paths: Object.fromEntries(paths),
  };
}

/**
 * `/openapi/v2`: a protobuf document without content, which is no bytes. kubectl asks for it where it finds a `kind: List`
 * in a manifest, and refuses the manifest when there is none.
 */
export function emptyOpenApiV2(): ApiResponse {
  async function* body(): AsyncGenerator<Uint8Array> {}
  const type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  return { status: 200, headers: { "content-type": type, "content-length": "0" }, body: body() };
}

function pathOf(resource: Resource): string {
  return resource.group === "" ? `api/${resource.version}` : `apis/${groupVersion(resource)}`;
}
