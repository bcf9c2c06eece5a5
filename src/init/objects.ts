import type { Signal } from "#base";
import { ApiStatusError, hasReason, type KubeObject, keyOf, type Resource } from "#kube";
import type { Deps } from "./deps.ts";
import { untilItWorks } from "./retry.ts";

/** Every object of a kind; none if the kind is not served. */
export async function all<T extends KubeObject>(resource: Resource<T>, deps: Deps, o: Signal): Promise<readonly T[]> {
  return untilItWorks(
    deps,
    async (call) => {
      try {
        const found: T[] = [];
        for await (const object of deps.client.listAll(resource, call)) found.push(object);
        return found;
      } catch (error) {
        if (error instanceof ApiStatusError && error.status === 404) return [];
        throw error;
      }
    },
    o,
  );
}

/** Deletes the object, unless somebody has made it anew meanwhile, and says so. */
export async function erase(
  resource: Resource<KubeObject>,
  { metadata }: KubeObject,
  deps: Deps,
  o: Signal,
): Promise<void> {
  const { uid } = metadata;
  await untilItWorks(
    deps,
    (call) =>
      deps.client
        .delete(resource, metadata, { ...call, preconditions: { uid }, propagationPolicy: "Background" })
        .catch((error: unknown) => {
          if (!hasReason(error, "NotFound", "Conflict")) throw error; // Deleted, or created again by somebody.
        }),
    o,
  );
  deps.say(`${resource.kind} ${keyOf(metadata)}: deleted`);
}
