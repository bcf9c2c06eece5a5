import { assertNever, backoffMs } from "#base";
import type { Page, WatchEvent } from "../http/codec.ts";
import type { KubeObject } from "../kinds/resource.ts";

/**
 * Where a watcher stands. `failures` counts since the server last told something new; it makes the backoff grow.
 *
 *     empty ──page──▶ listing ──stream, or last page──▶ watching ──ended──▶ watching
 *       ▲ ╲____________last page_______________________▶   │
 *       └───────────── 410 ────────────────────────────────┘      any failure ──▶ backoff ──due──▶ where it was
 */
export type WatchState<T> = ActiveState<T> | BackoffState<T>;

/** What a watcher does next or is waiting for, unless it waits after a failure. */
export type ActiveState<T> =
  /** The first page is to be fetched, or all at once. `known`: the version up to which all is known from before. */
  | { readonly kind: "empty"; readonly failures: number; readonly by: ListingMode; readonly known?: string }
  /** There is more than a page: everything again by a stream, or the following pages. */
  | {
      readonly kind: "listing";
      readonly failures: number;
      readonly by: ListingMode;
      readonly known?: string | undefined;
      readonly pages: readonly (readonly T[])[];
      readonly continueToken: string;
    }
  /**
   * `heard`: this watch has reported something since it was opened. `cut`: the server was away, and etcd may have been restored
   * meanwhile, so the server is asked for its version before the watch goes on.
   */
  | {
      readonly kind: "watching";
      readonly failures: number;
      readonly resourceVersion: string;
      readonly heard: boolean;
      readonly cut?: boolean;
    };

/**
 * How more than a page of objects is listed. `stream`: as the beginning of a watch, which the server sends object by object from
 * its memory; for each page it would go through all objects that are left. `pages`: if the server does not stream, or a stream
 * broke. `whole`: all in one answer, after the pages expired.
 */
type ListingMode = "stream" | "pages" | "whole";

type EmptyState = Extract<ActiveState<never>, { kind: "empty" }>;

/** After a failure: nothing is asked until `untilMs` of the monotonic clock, then `next` goes on. */
interface BackoffState<T> {
  readonly kind: "backoff";
  readonly failures: number;
  readonly untilMs: number;
  readonly next: ActiveState<T>;
}

/** What can happen to a watcher. */
export type WatchInput<T> =
  | { readonly kind: "page"; readonly page: Page<T> }
  /** A stream told all that exists. */
  | { readonly kind: "streamed"; readonly page: Page<T> }
  /** The server refuses to stream. */
  | { readonly kind: "unstreamed" }
  | { readonly kind: "event"; readonly event: WatchEvent<T> }
  /** The server closed the watch, or it was silent for too long or in doubt (`quiet`): normal for objects that never change. */
  | { readonly kind: "ended"; readonly quiet: boolean }
  /** 410: the version, or the list's continuation, is no longer known. */
  | { readonly kind: "gone" }
  /** A line was no event, or the server reported an error within the watch. */
  | { readonly kind: "broken" }
  /** A refusal of any other kind. */
  | { readonly kind: "failed"; readonly retryAfterMs: number }
  /** No answer, or none of a server that works. */
  | { readonly kind: "away"; readonly retryAfterMs: number }
  /** The version of a server that was away. */
  | { readonly kind: "back"; readonly resourceVersion: string }
  /** Somebody knows that what was told is not of the server's history any more. */
  | { readonly kind: "stale" }
  /** The backoff is over. */
  | { readonly kind: "due" };

/** What a step reports to the store. */
export type WatchChange<T> =
  | { readonly kind: "replaced"; readonly objects: readonly T[] }
  | { readonly kind: "put"; readonly object: T }
  | { readonly kind: "removed"; readonly object: T };

/** Inputs that a step must not read itself, so that it is pure. `random` is in [0, 1). */
interface StepContext {
  readonly nowMs: number;
  readonly random: () => number;
}

/** The result of a step. `rewound`: the server's versions ran back, as after a restore of etcd from a backup. */
interface Step<T> {
  readonly state: WatchState<T>;
  readonly change?: WatchChange<T>;
  readonly rewound?: boolean;
}

/** The whole behaviour of a watcher, without time and without I/O. Throws TypeError for an input that the state cannot meet. */
export function step<T extends KubeObject>(state: WatchState<T>, input: WatchInput<T>, context: StepContext): Step<T> {
  switch (state.kind) {
    case "empty":
    case "listing":
      return stepList(state, input, context);
    case "watching":
      return stepWatch(state, input, context);
    case "backoff":
      if (input.kind === "due") return { state: state.next };
      if (input.kind === "stale")
        return { state: { ...state, next: step(state.next, input, context).state as ActiveState<T> } };
      throw unexpected(state, input);
    default:
      return assertNever(state);
  }
}

function stepList<T extends KubeObject>(
  state: Extract<ActiveState<T>, { kind: "empty" | "listing" }>,
  input: WatchInput<T>,
  context: StepContext,
): Step<T> {
  const { failures, by, known } = state;
  switch (input.kind) {
    case "page": {
      const { page } = input;
      const pages = [...(state.kind === "listing" ? state.pages : []), page.items];
      if (page.continue === undefined) return listed(state, page, pages.flat());
      return { state: { kind: "listing", failures, by, known, pages, continueToken: page.continue } };
    }
    case "streamed":
      return listed(state, input.page, input.page.items);
    case "unstreamed":
      return { state: { ...state, by: "pages" } };
    case "gone":
      // Paging was slower than the server's memory: ask for all at once, or it might never end.
      return { state: backoff({ ...emptyAfter(state, known), by: "whole" }, context) };
    case "broken":
      // A stream may be broken wherever it is tried, by what stands between.
      return { state: backoff({ ...emptyAfter(state, known), ...(by === "stream" && { by: "pages" }) }, context) };
    case "failed":
    case "away":
      return { state: backoff(state, context, input.retryAfterMs) };
    case "stale":
      return { state };
    default:
      throw unexpected(state, input);
  }
}

function listed<T>(
  { failures, known }: { readonly failures: number; readonly known?: string | undefined },
  { resourceVersion }: Page<T>,
  objects: readonly T[],
): Step<T> {
  return {
    state: { kind: "watching", failures, resourceVersion, heard: false },
    change: { kind: "replaced", objects },
    rewound: isEarlier(resourceVersion, known),
  };
}

function stepWatch<T extends KubeObject>(
  state: Extract<ActiveState<T>, { kind: "watching" }>,
  input: WatchInput<T>,
  context: StepContext,
): Step<T> {
  const { failures } = state;
  const relist = emptyAfter(state, state.resourceVersion);
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
      // The watch never reported anything, so nobody knows whether the server still has this version. A server that was restored
      // from a backup says nothing until it reaches it.
      if (input.quiet) return { state: relist };
      // A watch that ends before it told anything is a failure: without this a broken proxy would be asked in a tight loop.
      return { state: backoff(again, context) };
    }
    case "stale":
      return { state: relist };
    case "gone":
      return { state: state.heard ? relist : backoff(relist, context) };
    case "broken":
      // The same version may lead to the same broken line forever. So after the second time in a row, everything is listed again.
      return { state: backoff(failures === 0 ? { ...state, heard: false } : relist, context) };
    case "away":
      return { state: backoff({ ...state, heard: false, cut: true }, context, input.retryAfterMs) };
    case "back": {
      // The server would accept a watch from a version that it has not reached yet, and never report what was restored.
      if (isEarlier(input.resourceVersion, state.resourceVersion))
        return { state: { ...empty, failures }, rewound: true };
      const { cut: _cut, ...sound } = state;
      return { state: sound };
    }
    case "failed":
      return { state: backoff({ ...state, heard: false }, context, input.retryAfterMs) };
    default:
      throw unexpected(state, input);
  }
}

const empty: EmptyState = { kind: "empty", failures: 0, by: "stream" };

/** Everything must be listed again. The known state is that of this version. */
function emptyAfter({ failures }: { readonly failures: number }, known: string | undefined): EmptyState {
  return known === undefined ? { ...empty, failures } : { ...empty, failures, known };
}

/** Whether a resourceVersion is of an earlier state than another one. False if one is not a number, because that is unknown. */
export function isEarlier(version: string, than: string | undefined): boolean {
  return [version, than].every((one) => /^\d+$/.test(one ?? "")) && BigInt(version) < BigInt(than ?? "");
}

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
