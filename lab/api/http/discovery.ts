import { groupVersion, type Resource } from "../resource.ts";
import type { ApiResponse } from "../types.ts";

/** The content type of aggregated discovery. Clients ask for it, and the answer has it. */
export const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/** The answer to `GET /version`. */
export const serverVersion = {
  major: "1",
  minor: "33",
  gitVersion: "v1.33.0-lab",
  platform: "linux/amd64",
};

/** `/api` (core) or `/apis` (the rest) in the aggregated form, which is the only one that kubectl uses since 1.27. */
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
    subresources: resource.subresources.map((subresource) => ({
      subresource,
      responseKind:
        subresource === "scale"
          ? { group: "autoscaling", version: "v1", kind: "Scale" }
          : { group, version, kind: resource.kind },
      verbs: ["create", "get", "patch", "update"],
    })),
  };
}

/** `/openapi/v3`: the paths of the documents of all group-versions. `hash` changes with the set of resources. */
export function openApiRoot(resources: readonly Resource[], hash: string): object {
  const paths = new Set(resources.map(pathOf));
  const entry = (path: string) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }];
  return { paths: Object.fromEntries([...paths].map(entry)) };
}

/**
 * `/openapi/v3/apis/G/V`. It says that PATCH of each kind takes `fieldValidation`, so that kubectl leaves the validation of
 * fields to the server, and has the schemas of custom resources, for `kubectl explain`.
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
  const schemas = served.map(({ group, version, kind, schema = { type: "object" } }) => [
    kind,
    { ...schema, "x-kubernetes-group-version-kind": [{ group, version, kind }] },
  ]);
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: serverVersion.gitVersion },
    paths: Object.fromEntries(paths),
    components: { schemas: Object.fromEntries(schemas) },
  };
}

/**
 * `/openapi/v2`: an empty protobuf document, which has no bytes. kubectl reads it if a manifest has a `kind: List`, and refuses
 * the manifest if there is none.
 */
export function emptyOpenApiV2(): ApiResponse {
  async function* body(): AsyncGenerator<Uint8Array> {}
  const type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  return { status: 200, headers: { "content-type": type, "content-length": "0" }, body: body() };
}

function pathOf(resource: Resource): string {
  return resource.group === "" ? `api/${resource.version}` : `apis/${groupVersion(resource)}`;
}
