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
import { type Signal, SpiderError } from "#base";
import { type Draft, hasReason, type KubeObject, keyOf, type Resource } from "#kube";
import { nodeNetwork } from "./default-network.ts";
import type { Deps } from "./deps.ts";
import type { InitOptions } from "./options.ts";
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
 * Creates the wanted objects where they are absent. What is there stays as it is; where it differs from what is wanted, that
 * is told. Throws ApiStatusError where the server refuses one, INIT_OBJECTS where the file is not what it should be.
 */
export async function install(
  { objects, cniConfDir, namespace }: Extract<InitOptions, { readonly command: "install" }>,
  deps: Deps,
  o: Signal,
): Promise<void> {
  const wanted = [...readWanted(readFileSync(objects, "utf8"))];
  if (cniConfDir !== undefined) wanted.push(nodeNetwork(cniConfDir, namespace));
  for (const { resource, object } of wanted) await ensure(resource, object, deps, o);
}

/** Every document of the text with its resource. */
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
        // Somebody else did, or our own earlier attempt whose answer was lost.
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

/** What is wanted and is otherwise, by path. Fields that nobody asked for are no difference. */
export function differencesOf(wanted: unknown, found: unknown, path = "spec"): readonly string[] {
  if (isDeepStrictEqual(wanted, found)) return [];
  if (!isMap(wanted) || !isMap(found)) return [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`];
  return Object.entries(wanted).flatMap(([key, value]) => differencesOf(value, found[key], `${path}.${key}`));
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
