import { type Clock, formatError, type Logger, type Signal } from "#base";
import type { KubeClient, Page, Selection, WatchEvent } from "./client.ts";
import { deadline } from "./deadline.ts";
import { ApiStatusError, hasReason } from "./errors.ts";
import { limits } from "./limits.ts";
import { lineError } from "./lines.ts";
import type { KubeObject, Resource } from "./resource.ts";
import { streamedPage } from "./streamed-page.ts";
import { initialState, step, type WatchChange, type WatchInput, type WatchState } from "./watch-step.ts";

interface WatcherOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** Drops what nobody reads, of each object as soon as it is decoded: a list is never whole in memory as it came. */
  readonly trim?: (object: T) => T;
  /** What there is more of is streamed. @default limits.listPageItems */
  readonly pageItems?: number;
  readonly onChange: (change: WatchChange<T>) => void;
  /** Called at every word of the server, bookmarks included, with the version up to which all is told; undefined within a list. */
  readonly onHeard: (version: string | undefined) => void;
  /** Called when the server's versions ran back; its objects may still be on their way. */
  readonly onRewound: () => void;
  /** Called when a list or watch fails. */
  readonly onBroken: () => void;
  /** Called when a watch is opened, with what ends it so that another one takes its place at once. */
  readonly onOpened: (renew: () => void) => void;
  /** Called at the start, with what lets all be listed anew. */
  readonly onStarted: (relist: () => void) => void;
}

/** Lists and watches until the signal aborts, then resolves. */
export async function runWatcher<T extends KubeObject>(options: WatcherOptions<T>, { signal }: Signal): Promise<void> {
  const { clock, random, onChange, onHeard, onRewound, onBroken, onOpened, onStarted } = options;
  const { pageItems = limits.listPageItems } = options;
  let state = initialState as WatchState<T>;
  const feed = (input: WatchInput<T>, error?: unknown) => {
    const before = state;
    const stepped = step(state, input, { nowMs: clock.monotonicMs(), random });
    state = stepped.state;
    if (input.kind === "page" || input.kind === "streamed" || input.kind === "event") {
      onHeard(state.kind === "watching" ? state.resourceVersion : undefined);
    }
    if (stepped.rewound === true) onRewound();
    if (stepped.change !== undefined) onChange(stepped.change);
    report(options, before, state, error);
  };
  let renewal = new AbortController();
  const renew = () => renewal.abort();
  // What was told meanwhile that all is to be listed anew.
  const isStale = () => state.kind !== "watching";
  onStarted(() => {
    feed({ kind: "stale" });
    renew();
  });
  const waitUntil = async (untilMs: number) => {
    await clock.sleep(Math.max(0, untilMs - clock.monotonicMs()), { signal });
    feed({ kind: "due" });
  };
  const askVersion = async () => {
    const { resourceVersion } = await listPage(options, 1, signal);
    if (!isStale()) feed({ kind: "back", resourceVersion });
  };
  const follow = async (version: string | undefined) => {
    renewal = new AbortController();
    const { signal: renewed } = renewal;
    const events = watch(options, version, { parent: signal, renewal: renewed });
    if (version === undefined) {
      const page = await streamedPage(events, () => onHeard(undefined));
      // Given up because all is to be listed anew: it is, from its beginning.
      if (page === undefined && renewed.aborted) return;
      if (page === undefined) throw lineError("a watch ended before it told all that exists", {});
      feed({ kind: "streamed", page });
    }
    const openedMs = clock.monotonicMs();
    onOpened(renew);
    for await (const event of events) {
      if (isStale()) return;
      feed({ kind: "event", event });
    }
    if (isStale()) return;
    const quiet = renewed.aborted || clock.monotonicMs() - openedMs >= limits.watchSilenceMs;
    feed({ kind: "ended", quiet });
  };
  const fetchPage = async (limit: number | undefined, token?: string) => {
    // Without a resourceVersion the answer is the newest state: a relist never takes the store back in time.
    feed({ kind: "page", page: await listPage(options, limit, signal, token) });
  };
  while (!signal.aborted) {
    try {
      if (state.kind === "backoff") await waitUntil(state.untilMs);
      else if (state.kind === "watching") await (state.cut === true ? askVersion() : follow(state.resourceVersion));
      else if (state.kind === "empty") await fetchPage(state.by === "whole" ? undefined : pageItems);
      else if (state.by === "stream") await follow(undefined);
      else await fetchPage(pageItems, state.continueToken);
    } catch (error) {
      if (signal.aborted) return;
      const streams = state.kind === "listing" && state.by === "stream";
      if (streams && isRefused(error)) {
        feed({ kind: "unstreamed" });
        continue;
      }
      onBroken();
      feed(inputOf(error), error);
    }
  }
}

/** Whether the server does not know, or does not allow, what was asked for. */
function isRefused(error: unknown): boolean {
  return error instanceof ApiStatusError && [400, 405, 422].includes(error.status);
}

async function listPage<T extends KubeObject>(
  { client, resource, namespace, labelSelector, fieldSelector, trim }: WatcherOptions<T>,
  limit: number | undefined,
  signal: AbortSignal,
  token?: string,
): Promise<Page<T>> {
  const selection = { namespace, labelSelector, fieldSelector };
  return client.list(resource, { ...selection, limit, continue: token, trim, signal });
}

/** One watch, which also ends when the server has been silent for too long: a dead connection looks like a quiet one. */
async function* watch<T extends KubeObject>(
  { client, resource, clock, random, namespace, labelSelector, fieldSelector, trim }: WatcherOptions<T>,
  resourceVersion: string | undefined,
  { parent, renewal }: { readonly parent: AbortSignal; readonly renewal: AbortSignal },
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const silence = new Error("the watch was silent");
  using limit = deadline(clock, parent, limits.watchSilenceMs, () => silence);
  // 5 to 10 minutes, so that the watches of many agents do not end together.
  const timeoutSeconds = 300 + Math.floor(random() * 300);
  const selection = { namespace, labelSelector, fieldSelector };
  try {
    const signal = AbortSignal.any([limit.signal, renewal]);
    for await (const event of client.watch(resource, { ...selection, resourceVersion, timeoutSeconds, signal })) {
      limit.postpone(limits.watchSilenceMs);
      yield event.type === "BOOKMARK" || trim === undefined ? event : { ...event, object: trim(event.object) };
    }
  } catch (error) {
    if (error !== silence && !renewal.aborted) throw error;
  }
}

function inputOf<T>(error: unknown): WatchInput<T> {
  if (hasReason(error, "Expired", "Gone")) return { kind: "gone" };
  if (error instanceof ApiStatusError) {
    const { status, retryAfterMs = 0 } = error;
    return { kind: status >= 500 ? "away" : "failed", retryAfterMs };
  }
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "API_UNREACHABLE") return { kind: "away", retryAfterMs: 0 };
  return { kind: "broken" };
}

/** One line when trouble begins and one when it is over, however often it is tried meanwhile. */
function report<T extends KubeObject>(
  { log, resource }: WatcherOptions<T>,
  before: WatchState<T>,
  after: WatchState<T>,
  err: unknown,
): void {
  const fields = { resource: resource.plural };
  if (before.failures === 0 && after.failures > 0 && err !== undefined) {
    log.warn({ ...fields, err, cause: formatError(err) }, "the watch of the Kubernetes API is interrupted");
  } else if (before.failures > 0 && after.failures === 0) {
    log.info(fields, "the watch of the Kubernetes API works again");
  } else if (err !== undefined) {
    log.debug({ ...fields, err, failures: after.failures }, "the watch of the Kubernetes API failed");
  }
}
