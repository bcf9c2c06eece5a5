import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { parseAllDocuments } from "yaml";
import {
  networkAttachmentDefinitions,
  spiderCoordinators,
  spiderIPPools,
  spiderMultusConfigs,
  spiderSubnets,
} from "#api";
import { isJsonObject, type Signal, SpiderError } from "#base";
import { type Draft, hasReason, type KubeObject, keyOf, type Resource } from "#kube";
import { nodeNetwork } from "./default-network.ts";
import type { Deps } from "./deps.ts";
import type { InstallOptions } from "./options.ts";
import { untilItWorks } from "./retry.ts";

type Wanted = Draft<KubeObject & { readonly spec?: unknown }> & { readonly metadata: { readonly name: string } };

const resources: readonly Resource<KubeObject>[] = [
  spiderCoordinators,
  spiderSubnets,
  spiderIPPools,
  spiderMultusConfigs,
  networkAttachmentDefinitions,
];

/**
 * Creates the wanted objects that do not exist. Leaves existing ones unchanged, and reports their differences from the wanted.
 * Throws ApiStatusError if the server refuses one, INIT_OBJECTS if the file is invalid.
 */
export async function install(
  { objects, cniConfDir, namespace }: InstallOptions,
  deps: Deps,
  o: Signal,
): Promise<void> {
  const wanted = [...readWanted(readFileSync(objects, "utf8"))];
  if (cniConfDir !== undefined) wanted.push(nodeNetwork(cniConfDir, namespace));
  for (const { resource, object } of wanted) await ensure(resource, object, deps, o);
}

/** Every document in the text, with its resource. */
export function readWanted(
  text: string,
): readonly { readonly resource: Resource<KubeObject>; readonly object: Wanted }[] {
  return parseAllDocuments(text).flatMap((document) => {
    const value = document.toJS() as (Wanted & { readonly kind?: string }) | null;
    if (value === null) return [];
    const { apiVersion: _apiVersion, kind, ...object } = value as typeof value & { readonly apiVersion?: string };
    const resource = resources.find((one) => one.kind === kind);
    if (resource === undefined || typeof object.metadata?.name !== "string") {
      const allowed = resources.map((one) => one.kind).join(", ");
      throw new SpiderError("INIT_OBJECTS", `an object is of kind ${JSON.stringify(kind)}, allowed are ${allowed}`);
    }
    return [{ resource, object }];
  });
}

async function ensure(resource: Resource<KubeObject>, object: Wanted, deps: Deps, o: Signal): Promise<void> {
  const { client, say } = deps;
  const title = `${resource.kind} ${keyOf(object.metadata)}`;
  const found = await untilItWorks(
    deps,
    async (call) => {
      const found = await client.get(resource, object.metadata, call);
      if (found !== undefined) return found;
      try {
        await client.create(resource, object, call);
        return undefined;
      } catch (error) {
        // Somebody else created it, or our own earlier attempt, whose answer was lost.
        if (!hasReason(error, "AlreadyExists")) throw error;
        return client.get(resource, object.metadata, call);
      }
    },
    o,
  );
  if (found === undefined) return say(`${title}: created`);
  const differences = differencesOf(object.spec, (found as Wanted).spec);
  say(`${title}: is there${differences.length === 0 ? "" : `, left as it is, although ${differences.join("; ")}`}`);
}

/** Fields that differ from the wanted object, by path. Further fields of the found one do not count. */
export function differencesOf(wanted: unknown, found: unknown, path = "spec"): readonly string[] {
  if (isDeepStrictEqual(wanted, found)) return [];
  if (!isJsonObject(wanted) || !isJsonObject(found))
    return [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`];
  return Object.entries(wanted).flatMap(([key, value]) => differencesOf(value, found[key], `${path}.${key}`));
}
