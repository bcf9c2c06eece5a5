import type { Clock } from "#base";
import { expired } from "../failure.ts";
import { type Form, presentBookmark, presentOne } from "../printing/present.ts";
import type { Resource } from "../resource.ts";
import type { Matcher } from "../selectors.ts";
import type { KubeObject, WatchEventType } from "../types.ts";
import type { Change, Store } from "./store.ts";

/** How many changes wait for a slow reader before its watch is ended. */
const pendingMax = 10_000;
const bookmarkEveryMs = 60_000;
const timeoutMsDefault = 30 * 60_000;

/** Which objects of a resource a client watches, and from when. */
interface WatchRequest {
  readonly resource: Resource;
  readonly query: URLSearchParams;
  readonly matches: Matcher;
  readonly form: Form;
}

/** One line of a watch. */
interface Line {
  readonly type: WatchEventType | "BOOKMARK" | "ERROR";
  readonly object: object;
}

/**
 * The lines of one watch. It listens from the moment of the call, before anything is read, so that no change is lost between
 * the initial state and the first change that it reports. It ends when `signal` aborts, at its timeout, or if the reader is too
 * slow.
 */
export function watch(store: Store, clock: Clock, request: WatchRequest, signal: AbortSignal): AsyncIterable<Line> {
  const { resource, query } = request;
  const opening = openingOf(store, request);
  const pending: Change[] = [];
  let wake = Promise.withResolvers<void>();
  let bookmarkDue = false;
  const ending = new AbortController();
  const end = () => {
    unlisten();
    ending.abort();
    wake.resolve();
  };
  const unlisten = store.listen(resource.table, (change) => {
    pending.push(change);
    if (pending.length > pendingMax) end();
    wake.resolve();
  });
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  const after = (ms: number, act: () => void) =>
    void clock.sleep(ms, { signal: ending.signal }).then(act, () => undefined);
  const remind = () => {
    bookmarkDue = true;
    wake.resolve();
    after(bookmarkEveryMs, remind);
  };
  after(Number(query.get("timeoutSeconds")) * 1000 || timeoutMsDefault, end);
  if (query.get("allowWatchBookmarks") === "true") after(bookmarkEveryMs, remind);

  async function* lines(): AsyncGenerator<Line> {
    try {
      yield* openingLines(opening, request, clock);
      while (!ending.signal.aborted && opening.kind !== "gone") {
        for (const change of pending.splice(0)) yield* seen(change, request, clock);
        if (pending.length > 0) continue;
        if (bookmarkDue) yield bookmark(request, String(store.resourceVersion));
        bookmarkDue = false;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      end();
      signal.removeEventListener("abort", end);
    }
  }
  return lines();
}

/** The lines before the live changes. */
type Opening =
  | { readonly kind: "state"; readonly objects: readonly KubeObject[]; readonly marked: string | undefined }
  | { readonly kind: "changes"; readonly changes: readonly Change[] }
  | { readonly kind: "gone"; readonly status: object };

/** All existing objects, or the changes since the client's resourceVersion. */
function openingOf(store: Store, { resource, query, matches }: WatchRequest): Opening {
  const from = query.get("resourceVersion") ?? "";
  const wantsState = query.get("sendInitialEvents") === "true";
  if (wantsState || from === "" || from === "0") {
    const marked = wantsState ? String(store.resourceVersion) : undefined;
    return { kind: "state", objects: store.list(resource.table).filter(matches), marked };
  }
  const changes = store.since(resource.table, Number(from));
  if (changes !== undefined) return { kind: "changes", changes };
  const failure = expired(`too old resource version: ${from} (${store.oldest(resource.table)})`);
  return { kind: "gone", status: failure.toStatus() };
}

function* openingLines(opening: Opening, request: WatchRequest, clock: Clock): Generator<Line> {
  if (opening.kind === "gone") yield { type: "ERROR", object: opening.status };
  else if (opening.kind === "changes") for (const change of opening.changes) yield* seen(change, request, clock);
  else {
    for (const object of opening.objects) yield line("ADDED", object, request, clock);
    if (opening.marked !== undefined) {
      yield bookmark(request, opening.marked, { annotations: { "k8s.io/initial-events-end": "true" } });
    }
  }
}

/** A change for a watch with selectors: an object that begins to match is ADDED, one that no longer matches is DELETED. */
function* seen(change: Change, request: WatchRequest, clock: Clock): Generator<Line> {
  const { object, previous } = change;
  const before = previous !== undefined && request.matches(previous);
  const now = change.type !== "DELETED" && request.matches(object);
  if (now) yield line(before ? "MODIFIED" : "ADDED", object, request, clock);
  else if (before) {
    const { resourceVersion } = object.metadata;
    const last = { ...previous, metadata: { ...previous.metadata, resourceVersion } };
    yield line("DELETED", change.type === "DELETED" ? object : last, request, clock);
  }
}

function line(type: WatchEventType, object: KubeObject, request: WatchRequest, clock: Clock): Line {
  return { type, object: presentOne(request.resource, object, request.form, clock.wall().getTime()) };
}

function bookmark(request: WatchRequest, resourceVersion: string, extra: object = {}): Line {
  const metadata = { resourceVersion, creationTimestamp: null, ...extra };
  return { type: "BOOKMARK", object: presentBookmark(request.resource, metadata, request.form) };
}
