import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Clock, sleepBy } from "#base";
import type { ApiResponse, Transport } from "#kube";
import { createApiServer, definitionsIn, type Fields, type KubeObject, type LabApi } from "../../../lab/api/index.ts";
import { Registry } from "../../../lab/api/storage/registry.ts";
import { type Change, keyOf, Store } from "../../../lab/api/storage/store.ts";
import { Writer } from "../../../lab/api/storage/writer.ts";
import { epochMs, type Process } from "../runtime/process.ts";
import { Random } from "../runtime/random.ts";
import type { Time } from "../runtime/time.ts";
import { type Asked, decode, type Effect, status, statusText, unreachable, type Verb } from "./requests.ts";
import { Stream } from "./stream.ts";
import { virtualDefinition } from "./virtual.ts";

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

/** Who asked for the write that is being made now. */
export interface Author {
  readonly process: Process;
  readonly asked: Asked;
}

/** A server acts on a changing request at most so late after it was sent: it carries `timeout=14s`. */
const lateMsMax = 13_900;
const claims = "spideripaddresses";

/** The API server of the world: the lab's, with a network between it and every process. */
export class Server {
  readonly store = new Store();
  readonly #registry = new Registry(this.store);
  readonly #writer: Writer;
  readonly #api: LabApi;
  readonly #time: Time;
  readonly #seed: string;
  readonly #lines = new Map<string, Line>();
  #author: Author | undefined;
  /** Counts the times that it was put back to an earlier state. */
  #history = 0;
  #isAway = false;
  /** Told of each request that reaches the server, before it acts. */
  onAsked: (author: Author) => void = () => {};

  constructor(time: Time, seed: string) {
    this.#time = time;
    this.#seed = seed;
    const after: Clock["after"] = (ms, act) => {
      const happening = time.after(ms, act);
      return () => {
        happening.cancelled = true;
      };
    };
    const clock: Clock = {
      monotonicMs: () => time.nowMs,
      wall: () => new Date(epochMs + time.nowMs),
      after,
      sleep: sleepBy(after),
    };
    this.#writer = new Writer(this.store, clock);
    this.#api = createApiServer({ crds: crds(), clock, store: this.store });
  }

  /** Who asked for the write of which the store tells now; undefined for the world itself. */
  get author(): Author | undefined {
    return this.#author;
  }

  // ── the hand of the world: kubelets, controllers of Kubernetes, people ──

  create(apiVersion: string, plural: string, body: Readonly<Fields>, namespace?: string): KubeObject {
    return this.#writer.create(this.#resource(apiVersion, plural), namespace, { apiVersion, ...body });
  }

  update(
    apiVersion: string,
    plural: string,
    object: KubeObject,
    options: { readonly status?: boolean } = {},
  ): KubeObject {
    const old = this.get(this.#resource(apiVersion, plural).table, object.metadata);
    if (old === undefined) throw new Error(`${plural} ${object.metadata.name} is gone`);
    return this.#writer.update(
      this.#resource(apiVersion, plural),
      old,
      {
        ...object,
        metadata: { ...object.metadata, resourceVersion: old.metadata.resourceVersion } as unknown as Fields,
      },
      options,
    );
  }

  delete(apiVersion: string, plural: string, object: KubeObject, gracePeriodSeconds?: number): void {
    this.#writer.delete(this.#resource(apiVersion, plural), object, { gracePeriodSeconds });
  }

  get(table: string, ref: { readonly namespace?: string; readonly name: string }): KubeObject | undefined {
    return this.store.get(table, keyOf(ref));
  }

  #resource(apiVersion: string, plural: string) {
    const found = this.#registry.find(apiVersion, plural);
    if (found === undefined) throw new Error(`the server knows no ${apiVersion} ${plural}`);
    return found;
  }

  // ── the network ──

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

  /** It is stopped: connections break, and none is accepted until {@link back}. What was under way has no effect any more. */
  stop(processes: Iterable<Process>): void {
    this.#isAway = true;
    this.#history += 1;
    for (const process of processes) this.endWatches(process);
  }

  /** It is there again. */
  start(): void {
    this.#isAway = false;
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
      const history = this.#history;
      this.#time.after(ms + random.between(0.3, 3), () => {
        if (history === this.#history) void this.#act(process, asked).then(then);
        else fail(true);
      });
    };
    const ordinary = this.#isAway ? "refused" : this.#takeArmed(line, asked);
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

  /** What the server does with a request, as one step of its own. */
  async #act(process: Process, asked: Asked, signal?: AbortSignal): Promise<ApiResponse> {
    const author: Author = { process, asked };
    this.onAsked(author);
    this.#author = author;
    try {
      return await this.#api.handle(asked.request, signal === undefined ? {} : { signal });
    } finally {
      if (this.#author === author) this.#author = undefined;
    }
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
    if (this.#isAway) {
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
    if (this.#isAway) {
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
    const response = await this.#api.handle(asked.request, { signal: serverSide.signal });
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

export type { Change, KubeObject };

/** Read once: every history begins with them. */
let definitions: readonly Fields[] | undefined;

/** Our own kinds, and those of Kubernetes that the lab's server does not have. */
function crds(): readonly Fields[] {
  const folder = fileURLToPath(new URL("../../../charts/spiderpool/crds/", import.meta.url));
  definitions ??= globSync(`${folder}*.yaml`)
    .sort()
    .flatMap((file) => definitionsIn(readFileSync(file, "utf8")))
    .concat(virtualDefinition);
  return definitions;
}
