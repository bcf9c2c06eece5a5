import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parse } from "yaml";
import { apiGroup } from "#api";
import { isJsonObject, type Signal, SpiderError } from "#base";
import { type CustomResourceDefinition, customResourceDefinitions, type Draft, hasReason } from "#kube";
import type { Deps } from "./deps.ts";
import { untilItWorks } from "./retry.ts";

/**
 * Creates missing kinds from the files of a directory and extends existing ones of ours: Helm creates kinds only at installation,
 * and never extends them. Takes nothing away (no version, no field of a schema), so that objects and programs of the previous
 * release go on, and a rollback works. Leaves kinds of others (NetworkAttachmentDefinition) unchanged. Resolves with the names of
 * the kinds it created once the server serves all of them.
 */
export async function updateKinds(directory: string, deps: Deps, o: Signal): Promise<ReadonlySet<string>> {
  const wanted = readdirSync(directory)
    .filter((file) => file.endsWith(".yaml"))
    .sort()
    .map((file) => parse(readFileSync(join(directory, file), "utf8")) as CustomResourceDefinition);
  if (wanted.length === 0) {
    throw new SpiderError("INIT_CRDS", "the directory holds no kinds", { details: { directory } });
  }
  const created = new Set<string>();
  for (const crd of wanted) {
    const done = await updateKind(crd, deps, o);
    if (done === "created") created.add(crd.metadata.name);
    deps.say(`${crd.metadata.name}: ${done}`);
  }
  for (const crd of wanted) await served(crd.metadata.name, deps, o);
  return created;
}

function updateKind(
  wanted: CustomResourceDefinition,
  deps: Deps,
  o: Signal,
): Promise<"created" | "extended" | "is up to date" | "is there, left as it is"> {
  const { client } = deps;
  const { apiVersion: _apiVersion, kind: _kind, ...draft } = wanted;
  return untilItWorks(
    deps,
    async (call) => {
      const found = await client.get(customResourceDefinitions, wanted.metadata, call);
      if (found === undefined) {
        await client
          .create(customResourceDefinitions, draft as Draft<CustomResourceDefinition>, call)
          .catch((error: unknown) => {
            if (!hasReason(error, "AlreadyExists")) throw error;
          });
        return "created";
      }
      if (wanted.spec.group !== apiGroup) return "is there, left as it is";
      const next = extended(found, wanted);
      if (isDeepStrictEqual(next.spec, found.spec)) return "is up to date";
      await client.update(customResourceDefinitions, next, call);
      return "extended";
    },
    o,
  );
}

/** Merges `wanted` into `found`. Keeps versions that only `found` has, no longer stored, and their fields of schemas. */
export function extended(found: CustomResourceDefinition, wanted: CustomResourceDefinition): CustomResourceDefinition {
  const older = new Map(found.spec.versions.map((version) => [version.name, version]));
  const versions = wanted.spec.versions.map((version) => {
    const before = older.get(version.name);
    older.delete(version.name);
    return before === undefined ? version : { ...version, schema: withFields(before["schema"], version["schema"]) };
  });
  const kept = [...older.values()].map((version) => ({ ...version, storage: false }));
  return { ...found, spec: { ...found.spec, ...wanted.spec, versions: [...versions, ...kept] } };
}

/** The new schema with properties that only the previous one has, at every depth. */
function withFields(before: unknown, now: unknown): unknown {
  if (!isJsonObject(before) || !isJsonObject(now)) return now;
  const entries = Object.entries(now).map(([key, value]) => {
    const former = before[key];
    if (key === "properties" && isJsonObject(former) && isJsonObject(value)) {
      const both = Object.keys({ ...former, ...value });
      const merged = both.map((name) => [name, name in value ? withFields(former[name], value[name]) : former[name]]);
      return [key, Object.fromEntries(merged)];
    }
    return [key, withFields(former, value)];
  });
  return Object.fromEntries(entries);
}

async function served(name: string, deps: Deps, o: Signal): Promise<void> {
  for (;;) {
    const found = await untilItWorks(deps, (call) => deps.client.get(customResourceDefinitions, { name }, call), o);
    const conditions = found?.status?.conditions ?? [];
    if (conditions.some(({ type, status }) => type === "Established" && status === "True")) return;
    await deps.clock.sleep(200, o);
  }
}
