import { assertNever, backoffMs, type Clock, formatError, type Logger, type Signal } from "#base";
import type { KubeClient, Page, Selection, WatchEvent } from "./client.ts";
import { deadline } from "./deadline.ts";
import { ApiStatusError, hasReason } from "./errors.ts";
import { limits } from "./limits.ts";
import type { KubeObject, Resource } from "./resource.ts";

/**
 * Where a watcher stands. `failures` counts since the server last told something new; it makes the backoff grow.
 *
 *     empty ──page──▶ listing ──last page──▶ watching ──ended──▶ watching
 *       ▲ ╲____________last page____________▶   │
 *       └───────────── 410 ─────────────────────┘      any failure ──▶ backoff ──due──▶ where it was
 */
export type WatchState<T> = ActiveState<T> | BackoffState<T>;

export type ActiveState<T> =
  /** Nothing is known: the first page is to be fetched, or all in one where the pages of a list expired (`whole`). */
  | { readonly kind: "empty"; readonly failures: number; readonly whole: boolean }
  | {
      readonly kind: "listing";
      readonly failures: number;
      readonly pages: readonly (readonly T[])[];
      readonly continueToken: string;
    }
  /** `heard`: this watch has told something since it was opened. */
  | {
      readonly kind: "watching";
      readonly failures: number;
      readonly resourceVersion: string;
      readonly heard: boolean;
    };

export interface BackoffState<T> {
  readonly kind: "backoff";
  readonly failures: number;
  readonly untilMs: number;
  readonly next: ActiveState<T>;
}

/** What can happen to a watcher. */
export type WatchInput<T> =
  | { readonly kind: "page"; readonly page: Page<T> }
  | { readonly kind: "event"; readonly event: WatchEvent<T> }
  /** The server closed the watch, or was silent for too long or doubted (`quiet`): of a kind that nobody touches it may have nothing to say. */
  | { readonly kind: "ended"; readonly quiet: boolean }
  /** 410: the version, or the list's continuation, is no longer known. */
  | { readonly kind: "gone" }
  /** A line was no event, or the server reported an error within the watch. */
  | { readonly kind: "broken" }
  /** No answer, or any other refusal. */
  | { readonly kind: "failed"; readonly retryAfterMs: number }
  /** The backoff is over. */
  | { readonly kind: "due" };

/** What a step tells the store. */
export type WatchChange<T> =
  | { readonly kind: "replaced"; readonly objects: readonly T[] }
  | { readonly kind: "put"; readonly object: T }
  | { readonly kind: "removed"; readonly object: T };

export interface StepContext {
  readonly nowMs: number;
  readonly random: () => number;
}

/** The whole behaviour of a watcher, without time and without I/O. Throws TypeError for an input that the state cannot meet. */
export function step<T extends KubeObject>(
  state: WatchState<T>,
  input: WatchInput<T>,
  context: StepContext,
): { readonly state: WatchState<T>; readonly change?: WatchChange<T> } {
  switch (state.kind) {
    case "empty":
    case "listing":
      return stepList(state, input, context);
    case "watching":
      return stepWatch(state, input, context);
    case "backoff":
      if (input.kind === "due") return { state: state.next };
      throw unexpected(state, input);
    default:
      return assertNever(state);
  }
}

function stepList<T extends KubeObject>(
  state: Extract<ActiveState<T>, { kind: "empty" | "listing" }>,
  input: WatchInput<T>,
  context: StepContext,
): { readonly state: WatchState<T>; readonly change?: WatchChange<T> } {
  const { failures } = state;
  switch (input.kind) {
    case "page": {
      const { page } = input;
      const pages = [...(state.kind === "listing" ? state.pages : []), page.items];
      if (page.continue !== undefined)
        return { state: { kind: "listing", failures, pages, continueToken: page.continue } };
      const { resourceVersion } = page;
      return {
        state: { kind: "watching", failures, resourceVersion, heard: false },
        change: { kind: "replaced", objects: pages.flat() },
      };
    }
    case "gone":
      // Paging was slower than the server's memory: ask for all at once, or it might never end.
      return { state: backoff({ ...empty, whole: true, failures }, context) };
    case "broken":
      return { state: backoff({ ...empty, failures }, context) };
    case "failed":
      return { state: backoff(state, context, input.retryAfterMs) };
    default:
      throw unexpected(state, input);
  }
}

function stepWatch<T extends KubeObject>(
  state: Extract<ActiveState<T>, { kind: "watching" }>,
  input: WatchInput<T>,
  context: StepContext,
): { readonly state: WatchState<T>; readonly change?: WatchChange<T> } {
  switch (input.kind) {
    case "event": {
      const { event } = input;
      const told = (resourceVersion: string) =>
        ({ kind: "watching", failures: 0, resourceVersion, heard: true }) as const;
      if (event.type === "BOOKMARK") return { state: told(event.resourceVersion) };
      const { object } = event;
      const change = { kind: event.type === "DELETED" ? "removed" : "put", object } as const;
      return { state: told(object.metadata.resourceVersion), change };
    }
    case "ended": {
      const again = { ...state, heard: false };
      if (state.heard) return { state: again };
      // Silent for all of its life: nobody tells whether the server still knows this version. One that was restored from a
      // backup, whose versions begin earlier, says nothing until it gets there.
      if (input.quiet) return { state: { ...empty, failures: state.failures } };
      // A watch that ends before it told anything is a failure: without this a broken proxy would be asked in a tight loop.
      return { state: backoff(again, context) };
    }
    case "gone": {
      const relist = { ...empty, failures: state.failures };
      return { state: state.heard ? relist : backoff(relist, context) };
    }
    case "broken": {
      // The same version may lead to the same broken line for ever: the second time in a row all is listed anew.
      const { failures } = state;
      return { state: backoff(failures === 0 ? { ...state, heard: false } : { ...empty, failures }, context) };
    }
    case "failed":
      return { state: backoff({ ...state, heard: false }, context, input.retryAfterMs) };
    default:
      throw unexpected(state, input);
  }
}

const empty = { kind: "empty", failures: 0, whole: false } as const;

/** The state of a watcher that has not begun. */
export const initialState: ActiveState<never> = empty;

function backoff<T>(next: ActiveState<T>, { nowMs, random }: StepContext, atLeastMs = 0): BackoffState<T> {
  const delayMs = atLeastMs + backoffMs(next.failures, { firstMs: 500, maxMs: 30_000, random });
  const failures = next.failures + 1;
  return { kind: "backoff", failures, untilMs: nowMs + delayMs, next: { ...next, failures } };
}

function unexpected<T>(state: WatchState<T>, input: WatchInput<T>): TypeError {
  return new TypeError(`a watcher cannot meet '${input.kind}' while ${state.kind}`);
}

export interface WatcherOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** Drops what nobody reads, of each object as soon as it is decoded: a list is never whole in memory as it came. */
  readonly trim?: (object: T) => T;
  readonly onChange: (change: WatchChange<T>) => void;
  /** Called at every word of the server, bookmarks included. */
  readonly onHeard: () => void;
  /** Called when a watch is opened, with what ends it so that another one takes its place at once. */
  readonly onOpened: (renew: () => void) => void;
}

/** Lists and watches until the signal aborts, then resolves. */
export async function runWatcher<T extends KubeObject>(options: WatcherOptions<T>, { signal }: Signal): Promise<void> {
  const { clock, random, onChange, onHeard, onOpened } = options;
  let state = initialState as WatchState<T>;
  const feed = (input: WatchInput<T>, error?: unknown) => {
    const before = state;
    const stepped = step(state, input, { nowMs: clock.monotonicMs(), random });
    state = stepped.state;
    if (input.kind === "page" || input.kind === "event") onHeard();
    if (stepped.change !== undefined) onChange(stepped.change);
    report(options, before, state, error);
  };
  while (!signal.aborted) {
    try {
      if (state.kind === "backoff") {
        await clock.sleep(Math.max(0, state.untilMs - clock.monotonicMs()), { signal });
        feed({ kind: "due" });
      } else if (state.kind === "watching") {
        const openedMs = clock.monotonicMs();
        const renewal = new AbortController();
        onOpened(() => renewal.abort());
        const ends = { parent: signal, renewal: renewal.signal };
        for await (const event of watch(options, state.resourceVersion, ends)) feed({ kind: "event", event });
        const quiet = renewal.signal.aborted || clock.monotonicMs() - openedMs >= limits.watchSilenceMs;
        feed({ kind: "ended", quiet });
      } else {
        feed({ kind: "page", page: await listPage(options, state, signal) });
      }
    } catch (error) {
      if (signal.aborted) return;
      feed(inputOf(error), error);
    }
  }
}

async function listPage<T extends KubeObject>(
  { client, resource, namespace, labelSelector, fieldSelector, trim }: WatcherOptions<T>,
  state: Extract<ActiveState<T>, { kind: "empty" | "listing" }>,
  signal: AbortSignal,
): Promise<Page<T>> {
  // Without a resourceVersion the answer is the newest state: a relist never takes the store back in time.
  const limit = state.kind === "empty" && state.whole ? undefined : limits.listPageItems;
  const token = state.kind === "listing" ? state.continueToken : undefined;
  const page = await client.list(resource, { namespace, labelSelector, fieldSelector, limit, continue: token, signal });
  return trim === undefined ? page : { ...page, items: page.items.map(trim) };
}

/** One watch, which also ends when the server has been silent for too long: a dead connection looks like a quiet one. */
async function* watch<T extends KubeObject>(
  { client, resource, clock, random, namespace, labelSelector, fieldSelector, trim }: WatcherOptions<T>,
  resourceVersion: string,
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
  if (error instanceof ApiStatusError) return { kind: "failed", retryAfterMs: error.retryAfterMs ?? 0 };
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "API_UNREACHABLE") return { kind: "failed", retryAfterMs: 0 };
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
