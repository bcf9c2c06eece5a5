import type { ApiResponse, Transport } from "#kube";
import type { Process } from "../runtime/process.ts";
import { Random } from "../runtime/random.ts";
import type { Time } from "../runtime/time.ts";
import { type Asked, decode, type Effect, status, statusText, unreachable, type Verb } from "./requests.ts";
import type { Server } from "./server.ts";
import { Stream } from "./stream.ts";

/** The way of one process to the API server. */
interface Line {
  readonly random: Random;
  /** Nothing passes: requests go nowhere. */
  cut: boolean;
  readonly armed: { readonly verb: Verb; readonly plural: string; readonly effect: Effect }[];
  /** How much later than usual changes of a kind arrive. */
  readonly lagMs: Map<string, number>;
  readonly watches: Set<OpenWatch>;
  /** The next watch is told that its past is forgotten. */
  expired: boolean;
}

interface OpenWatch {
  readonly asked: Asked;
  /** Its connection is half open: nothing passes any more, and neither side notices. */
  isDeaf: boolean;
  readonly end: (error?: unknown) => void;
}

/** A server acts on a changing request at most so late after it was sent: it carries `timeout=14s`. */
const lateMsMax = 13_900;
const claims = "spideripaddresses";

/** The ways between the processes and the API server, and what goes wrong on them. */
export class Network {
  readonly #server: Server;
  readonly #time: Time;
  readonly #seed: string;
  readonly #lines = new Map<string, Line>();

  constructor(server: Server, time: Time, seed: string) {
    this.#server = server;
    this.#time = time;
    this.#seed = seed;
  }

  /** How the process sends its requests. */
  transportOf(process: Process): Transport {
    const line = this.#line(process);
    return {
      server: "https://api.simulated",
      send: (request, { signal }) => {
        if (process.isDead) return new Promise(() => {});
        if (signal.aborted) return Promise.reject(signal.reason);
        const asked = decode(request);
        return asked.verb === "watch"
          ? this.#watch(process, line, asked, signal)
          : this.#call(process, line, asked, signal);
      },
    };
  }

  /** No more faults of any kind. */
  heal(): void {
    for (const line of this.#lines.values()) {
      line.cut = false;
      line.expired = false;
      line.armed.length = 0;
      line.lagMs.clear();
    }
  }

  /** Cuts the process off, or connects it again; its watches end. */
  cut(process: Process, cut: boolean): void {
    this.#line(process).cut = cut;
    if (cut) this.endWatches(process);
  }

  /** The next request of this kind by the process. @default on claims */
  arm(
    process: Process,
    { verb, plural = claims }: { readonly verb: Verb; readonly plural?: string },
    effect: Effect,
  ): void {
    this.#line(process).armed.push({ verb, plural, effect });
  }

  lag(process: Process, plural: string, ms: number): void {
    this.#line(process).lagMs.set(plural, ms);
  }

  /** Breaks the watches of a process; `expire`: they can't be taken up where they ended. */
  endWatches(process: Process, { expire = false }: { readonly expire?: boolean } = {}): void {
    const line = this.#line(process);
    line.expired = expire;
    for (const { end, asked, isDeaf } of [...line.watches]) {
      if (isDeaf) continue;
      process.after(1, () => end(unreachable(asked.request, true)));
    }
  }

  /** The connections of all watches of a process become half open; those that it opens later are not. */
  deafenWatches(process: Process): void {
    for (const watch of this.#line(process).watches) watch.isDeaf = true;
  }

  #call(process: Process, line: Line, asked: Asked, signal: AbortSignal): Promise<ApiResponse> {
    const { random } = line;
    const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = () => signal.removeEventListener("abort", onAbort);
    promise.then(settled, settled);
    const answer = (response: ApiResponse, ms = 0) =>
      process.after(ms + random.between(0.3, 3), () => resolve(response));
    const fail = (sent: boolean, ms = 0) => process.after(ms, () => reject(unreachable(asked.request, sent)));
    const act = (ms: number, then: (response: ApiResponse) => void) => {
      const { epoch } = this.#server;
      this.#time.after(ms + random.between(0.3, 3), () => {
        if (epoch === this.#server.epoch) void this.#server.act({ process, asked }).then(then);
        else fail(true);
      });
    };
    const ordinary = this.#server.isAway ? "refused" : this.#takeArmed(line, asked);
    const effect = line.cut ? "hang" : ordinary;
    const ignore = () => {};
    switch (effect) {
      case undefined:
        act(0, answer);
        break;
      case "hang":
        break;
      case "refused":
        fail(false, 1);
        break;
      case "lost-before":
        fail(true, 2);
        break;
      case "lost-after":
        act(0, () => fail(true, 1));
        break;
      case "late-answer":
        act(0, (response) => answer(response, random.between(5_000, 40_000)));
        break;
      case "late-commit":
        act(random.between(500, lateMsMax), answer);
        break;
      case "late-commit-answer-lost":
        fail(true, 2);
        act(random.between(500, lateMsMax), ignore);
        break;
      case "conflict":
        answer(status(409, "Conflict"));
        break;
      case "too-many-requests":
        answer(status(429, "TooManyRequests", { "retry-after": "1" }));
        break;
      case "internal-error":
        answer(status(500, "InternalError"));
        break;
      case "internal-error-after-commit":
        act(0, () => answer(status(500, "InternalError")));
        break;
      case "gateway-timeout-after-commit":
        act(random.between(0, lateMsMax), () => answer(status(504, "Timeout")));
        break;
    }
    return promise;
  }

  #watch(process: Process, line: Line, asked: Asked, signal: AbortSignal): Promise<ApiResponse> {
    const { random } = line;
    const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>();
    const stream = new Stream();
    const serverSide = new AbortController();
    const end = (error?: unknown) => {
      line.watches.delete(open);
      signal.removeEventListener("abort", onAbort);
      serverSide.abort();
      stream.end(error);
      reject(error ?? new Error("the watch was ended"));
    };
    const open: OpenWatch = { asked, end, isDeaf: false };
    const onAbort = () => end(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    process.onKill(() => serverSide.abort());
    if (line.cut) return promise;
    if (this.#server.isAway) {
      process.after(1, () => end(unreachable(asked.request, false)));
      return promise;
    }
    line.watches.add(open);
    this.#time.after(
      random.between(0.3, 3),
      () => void this.#open(process, line, open, { stream, serverSide, resolve }),
    );
    return promise;
  }

  async #open(
    process: Process,
    line: Line,
    watch: OpenWatch,
    {
      stream,
      serverSide,
      resolve,
    }: {
      readonly stream: Stream;
      readonly serverSide: AbortController;
      readonly resolve: (response: ApiResponse) => void;
    },
  ): Promise<void> {
    const { random } = line;
    const { asked } = watch;
    const pass = (ms: number, act: () => void) =>
      process.after(ms, () => {
        if (!watch.isDeaf) act();
      });
    if (this.#server.isAway) {
      process.after(1, () => watch.end(unreachable(asked.request, true)));
      return;
    }
    if (line.expired) {
      const gone = { type: "ERROR", object: JSON.parse(statusText(410, "Expired")) };
      process.after(1, () => {
        resolve({ status: 200, headers: {}, body: stream });
        stream.push(Buffer.from(`${JSON.stringify(gone)}\n`));
        watch.end();
      });
      line.expired = [...line.watches].length > 1; // Every watch of the process, once.
      return;
    }
    const response = await this.#server.watch(asked, serverSide.signal);
    process.after(random.between(0.3, 3), () => resolve({ ...response, body: stream }));
    let notBeforeMs = this.#time.nowMs + 3;
    for await (const chunk of response.body) {
      const lagMs = random.between(0.5, 12) + (line.lagMs.get(asked.plural) ?? 0);
      notBeforeMs = Math.max(notBeforeMs, this.#time.nowMs + lagMs);
      pass(notBeforeMs - this.#time.nowMs, () => stream.push(chunk));
    }
    pass(Math.max(1, notBeforeMs - this.#time.nowMs), () => watch.end());
  }

  #takeArmed({ armed }: Line, { verb, plural }: Asked): Effect | undefined {
    const at = armed.findIndex((one) => one.verb === verb && one.plural === plural);
    return at < 0 ? undefined : armed.splice(at, 1)[0]?.effect;
  }

  #line({ name }: Process): Line {
    const line = this.#lines.get(name) ?? {
      random: new Random(this.#seed, "network", name),
      cut: false,
      armed: [],
      lagMs: new Map(),
      watches: new Set(),
      expired: false,
    };
    this.#lines.set(name, line);
    return line;
  }
}
