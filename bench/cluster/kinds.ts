import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { spiderIPAddresses } from "#api";
import { never } from "#base";
import {
  ApiStatusError,
  type CustomResourceDefinition,
  customResourceDefinitions,
  type Draft,
  type KubeClient,
  type KubeObject,
  type Resource,
} from "#kube";

export type Json = Readonly<Record<string, unknown>>;

const claimCrd = fileURLToPath(
  new URL("../../charts/spiderpool/crds/spiderpool.spidernet.io_spideripaddresses.yaml", import.meta.url),
);
const o = { signal: never };

/** Defines a kind like the claim's of which the server checks nothing. */
export function kindWithoutSchema(client: KubeClient): Promise<Resource<KubeObject>> {
  return kindLike(client, "open", () => ({ type: "object", "x-kubernetes-preserve-unknown-fields": true }));
}

/** Defines a kind like the claim's, whose schema is that of the claim after `change`. */
export async function kindLike(
  client: KubeClient,
  name: string,
  change: (schema: Json) => Json,
): Promise<Resource<KubeObject>> {
  const group = `${name}.spidernet.io`;
  const crd = parse(readFileSync(claimCrd, "utf8"));
  const names = { kind: spiderIPAddresses.kind, plural: spiderIPAddresses.plural };
  const versions = crd.spec.versions.map((version: { readonly schema: { readonly openAPIV3Schema: Json } }) => ({
    ...version,
    schema: { openAPIV3Schema: change(version.schema.openAPIV3Schema) },
  }));
  const metadata = { name: `${names.plural}.${group}` };
  await client.create(
    customResourceDefinitions,
    { metadata, spec: { ...crd.spec, group, names, versions } } as Draft<CustomResourceDefinition>,
    o,
  );
  const resource = { ...spiderIPAddresses, group } as Resource<KubeObject>;
  for (;;) {
    try {
      await client.get(resource, { name: "none" }, o);
      return resource;
    } catch (error) {
      // 404 page not found: it is not served yet.
      if (!(error instanceof ApiStatusError) || error.status !== 404) throw error;
      await delay(100);
    }
  }
}
