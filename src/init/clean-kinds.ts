import { apiGroup } from "#api";
import type { Signal } from "#base";
import {
  ApiStatusError,
  type CustomResourceDefinition,
  customResourceDefinitions,
  type KubeObject,
  keyOf,
  metadataOf,
  type Resource,
} from "#kube";
import type { Deps } from "./deps.ts";
import { all, erase } from "./objects.ts";
import { unlessGone, untilItWorks } from "./retry.ts";

const stepMs = 200;

/**
 * Deletes the kinds first, because nobody can create objects of a terminating kind, which the controller, still running, would.
 * Then removes the objects' finalizers, because nobody else will.
 */
export async function removeKinds(deps: Deps, o: Signal): Promise<void> {
  const ours = (await all(customResourceDefinitions, deps, o)).filter(({ spec }) => spec.group === apiGroup);
  for (const crd of ours) {
    for (const object of await all(resourceOf(crd), deps, o)) {
      deps.say(`${crd.spec.names.kind} ${keyOf(object.metadata)}: deleted with its kind`);
    }
    await erase(customResourceDefinitions, crd, deps, o);
  }
  for (const crd of ours) {
    for (let look = 1; ; look += 1) {
      const found = await untilItWorks(
        deps,
        (call) => deps.client.get(customResourceDefinitions, crd.metadata, call),
        o,
      );
      if (found === undefined) break;
      await release(resourceOf(crd), deps, o);
      if (look % looksToTouch === 0) await touch(found, look, deps, o);
      await deps.clock.sleep(stepMs, o);
    }
  }
}

const looksToTouch = 10;

/**
 * Changes the kind, to wake an API server that could not list its objects (`storage is (re)initializing`): it may otherwise
 * continue the deletion only minutes later, at its next full resync.
 */
async function touch({ metadata }: CustomResourceDefinition, look: number, deps: Deps, o: Signal): Promise<void> {
  const body = { metadata: { annotations: { [`${apiGroup}/removal`]: `look ${look}` } } };
  const patch = (call: Signal) => deps.client.patch(customResourceDefinitions, metadata, { kind: "merge", body }, call);
  await unlessGone(patch, deps, o);
}

function resourceOf({ spec: { group, names, scope, versions } }: CustomResourceDefinition): Resource<KubeObject> {
  const stored = versions.find((version) => version["storage"] === true) ?? versions[0];
  const version = stored?.name ?? "";
  const resource = { group, version, plural: names.plural, kind: names.kind, namespaced: scope === "Namespaced" };
  return metadataOf(resource);
}

/** Removes the finalizers of all objects. */
async function release(resource: Resource<KubeObject>, deps: Deps, o: Signal): Promise<void> {
  for (const { metadata } of await all(resource, deps, o)) {
    if ((metadata.finalizers ?? []).length === 0) continue;
    const patch = { kind: "merge", body: { metadata: { finalizers: null } } } as const;
    const free = (call: Signal) =>
      deps.client.patch(resource, metadata, patch, call).catch((error: unknown) => {
        // Deleted meanwhile, or the controller wrote it: the next round sees it.
        if (!(error instanceof ApiStatusError && [404, 409].includes(error.status))) throw error;
      });
    await untilItWorks(deps, free, o);
  }
}
