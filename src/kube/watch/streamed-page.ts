import type { Page, WatchEvent } from "../http/codec.ts";
import { type KubeObject, keyOf } from "../kinds/resource.ts";

/**
 * All objects of a streaming list, and its version. Afterwards the same watch reports changes. Undefined if the stream ends
 * before the list does. The server sends the list of one moment, then what changed until the list's end.
 */
export async function streamedPage<T extends KubeObject>(
  events: AsyncGenerator<WatchEvent<T>, void, undefined>,
  onHeard: () => void,
): Promise<Page<T> | undefined> {
  const items: T[] = [];
  /** What changed after the moment: the objects as they are now, undefined if they are gone. */
  const changed = new Map<string, T | undefined>();
  for (;;) {
    const { value: event, done } = await events.next();
    if (done === true) return undefined;
    onHeard();
    if (event.type !== "BOOKMARK") {
      const { type, object } = event;
      if (type === "ADDED" && changed.size === 0) items.push(object);
      else changed.set(keyOf(object.metadata), type === "DELETED" ? undefined : object);
    } else if (event.endsList === true) {
      const { resourceVersion } = event;
      if (changed.size === 0) return { items, resourceVersion, continue: undefined };
      const untouched = items.filter(({ metadata }) => !changed.has(keyOf(metadata)));
      return {
        items: [...untouched, ...[...changed.values()].flatMap((one) => one ?? [])],
        resourceVersion,
        continue: undefined,
      };
    }
  }
}
