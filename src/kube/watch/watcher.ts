import { type Clock, formatError, type Logger, type Signal } from "#base";
import type { KubeClient, Selection } from "../client.ts";
import { deadline } from "../deadline.ts";
import { ApiStatusError, hasReason } from "../errors.ts";
import type { Page, WatchEvent } from "../http/codec.ts";
import { lineError } from "../http/lines.ts";
import type { KubeObject, Resource } from "../kinds/resource.ts";
import { limits } from "../limits.ts";
import { streamedPage } from "./streamed-page.ts";
import { initialState, step, type WatchChange, type WatchInput, type WatchState } from "./watch-step.ts";

interface WatcherOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** Drops fields that nobody reads from each object as it is decoded, so that no whole list is in memory. */
  readonly trim?: (object: T) => T;
  /** More objects than this are streamed; 0: whatever there is, which spares a request. @default limits.listPageItems */
  readonly pageItems?: number;
  readonly onChange: (change: WatchChange<T>) => void;
  /** Called for each event and page, bookmarks included, with the version reached; undefined within a list. */
  readonly onHeard: (version: string | undefined) => void;
  /** Called when the server's versions ran back, possibly before its objects arrive. */
  readonly onRewound: () => void;
  /** Called when a list or watch fails. */
  readonly onBroken: () => void;
  /** Called when a watch opens. `renew` replaces it with a new one at once. */
  readonly onOpened: (renew: () => void) => void;
  /** Called once at the start. `relist` lists everything again. */
  readonly onStarted: (relist: () => void) => void;
}

/** Lists and watches until the signal aborts, then resolves. */
export function runWatcher<T extends KubeObject>(options: WatcherOptions<T>, { signal }: Signal): Promise<void> {
  return new Watcher(options, signal).run();
}

/** The effects around {@link step}, which decides: each request's outcome is fed to it, and its state names the next request. */
class Watcher<T extends KubeObject> {
  readonly #options: WatcherOptions<T>;
  readonly #signal: AbortSignal;
  #state = initialState as WatchState<T>;
  /** Ends the present watch so that another one takes its place. */
  #renewal = new AbortController();
  readonly #renew = () => this.#renewal.abort();

  constructor(options: WatcherOptions<T>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    options.onStarted(() => {
      this.#feed({ kind: "stale" });
      this.#renew();
    });
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#next();
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#failed(error);
      }
    }
  }

  #next(): Promise<void> {
    const state = this.#state;
    const { pageItems = limits.listPageItems } = this.#options;
    if (state.kind === "backoff") return this.#waitUntil(state.untilMs);
    if (state.kind === "watching")
      return state.cut === true ? this.#askVersion() : this.#watchFrom(state.resourceVersion);
    if (this.#isStreaming()) return this.#stream();
    if (state.kind === "empty") return this.#fetchPage(state.by === "whole" || pageItems === 0 ? undefined : pageItems);
    return this.#fetchPage(pageItems, state.continueToken);
  }

  /** Whether everything is, or is to be, listed by a stream. */
  #isStreaming(): boolean {
    const state = this.#state;
    return (
      (state.kind === "listing" || (state.kind === "empty" && this.#options.pageItems === 0)) && state.by === "stream"
    );
  }

  #failed(error: unknown): void {
    if (this.#isStreaming() && isRefused(error)) {
      this.#feed({ kind: "unstreamed" });
      return;
    }
    this.#options.onBroken();
    this.#feed(inputOf(error), error);
  }

  #feed(input: WatchInput<T>, error?: unknown): void {
    const { clock, random, onChange, onHeard, onRewound } = this.#options;
    const before = this.#state;
    const { state, rewound, change } = step(before, input, { nowMs: clock.monotonicMs(), random });
    this.#state = state;
    if (input.kind === "page" || input.kind === "streamed" || input.kind === "event") {
      onHeard(state.kind === "watching" ? state.resourceVersion : undefined);
    }
    if (rewound === true) onRewound();
    if (change !== undefined) onChange(change);
    report(this.#options, before, state, error);
  }

  /** True if everything must be listed again. Then the answer to a running request is outdated. */
  #isStale(): boolean {
    return this.#state.kind !== "watching";
  }

  async #waitUntil(untilMs: number): Promise<void> {
    const { clock } = this.#options;
    await clock.sleep(Math.max(0, untilMs - clock.monotonicMs()), { signal: this.#signal });
    this.#feed({ kind: "due" });
  }

  async #askVersion(): Promise<void> {
    const { resourceVersion } = await listPage(this.#options, 1, this.#signal);
    if (!this.#isStale()) this.#feed({ kind: "back", resourceVersion });
  }

  async #fetchPage(limit: number | undefined, token?: string): Promise<void> {
    // Without a resourceVersion the answer is the newest state: a relist never takes the store back in time.
    this.#feed({ kind: "page", page: await listPage(this.#options, limit, this.#signal, token) });
  }

  /** A watch that begins with everything there is (a streaming list), then goes on as any other. */
  async #stream(): Promise<void> {
    const { events, renewed } = this.#open(undefined);
    const page = await streamedPage(events, () => this.#options.onHeard(undefined));
    // Ended by a relist, which begins the list again.
    if (page === undefined && renewed.aborted) return;
    if (page === undefined) throw lineError("a watch ended before it told all that exists", {});
    this.#feed({ kind: "streamed", page });
    await this.#follow(events, renewed);
  }

  #watchFrom(version: string): Promise<void> {
    const { events, renewed } = this.#open(version);
    return this.#follow(events, renewed);
  }

  #open(version: string | undefined) {
    this.#renewal = new AbortController();
    const renewed = this.#renewal.signal;
    return { events: watch(this.#options, version, { parent: this.#signal, renewal: renewed }), renewed };
  }

  async #follow(events: AsyncIterable<WatchEvent<T>>, renewed: AbortSignal): Promise<void> {
    const { clock, onOpened } = this.#options;
    const openedMs = clock.monotonicMs();
    onOpened(this.#renew);
    for await (const event of events) {
      if (this.#isStale()) return;
      this.#feed({ kind: "event", event });
    }
    if (this.#isStale()) return;
    const quiet = renewed.aborted || clock.monotonicMs() - openedMs >= limits.watchSilenceMs;
    this.#feed({ kind: "ended", quiet });
  }
}

/** True if the server does not know, or does not allow, the request. */
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

/** One watch. Also ends after a long silence of the server, because a dead connection looks like a quiet one. */
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

/** Logs one line when trouble begins and one when it is over; retries in between only at debug level. */
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
