import { setImmediate } from "node:timers/promises";
import { type FailPoint, FairQueue, formatError, KeyedLock, never, type Signal, SpiderError, withTimeout } from "#base";
import {
  type Attachment,
  CniError,
  type CniRequest,
  type CniResult,
  cniCodes,
  decodeCall,
  decodeResult,
  emptyResult,
  failureOutput,
  latestVersion,
  type PluginOutput,
  parseJsonObject,
  type RawCall,
  successOutput,
  versionDocument,
} from "#cni";
import { ownIpam } from "./chain.ts";
import type { Flight, Flights } from "./flights.ts";
import { parentVariable, Running } from "./running.ts";
import type { CallContext } from "./server.ts";
import { Verbs, type VerbsOptions } from "./verbs.ts";

/** An ADD that is not done by then fails, and everything that it made is undone. */
const usualAddMsMax = 30_000;
/** A DEL may wait for Open vSwitch, never for the API server. */
const delMsMax = 20_000;
/** Calls that work at once: many, because Open vSwitch reconfigures once for all that are waiting. */
const slots = 256;
const maxWaiting = 1_000;
/** Stages that block the thread, of all calls: by turns between namespaces, so that a burst of one delays no other's Pod. */
const turns = 2;
/** One more for a namespace that has none: without it each stage of its call would wait for a stage of the burst. */
const spareTurns = 1;
/** Runtimes ask every few seconds, and wait. */
const statusMsMax = 1_000;

/** What calls are run with: that of the verbs, limits, and who hears how a call went. */
export interface CallsOptions extends VerbsOptions {
  readonly flights: Flights;
  /** @default 30 s: runtimes give up after two minutes at the earliest, and what was made must be undone by then */
  readonly addMsMax?: number;
  /** An ADD failed: told to the Pod's owner. */
  readonly failed: (attachment: Attachment, error: unknown) => void;
  /** Told of each call when it has ended. */
  readonly ended?: (flight: Flight, failure: unknown) => void;
  /** Told of each point before and after a stage, with the call's verb. */
  readonly failPoint?: ((verb: string, point: Parameters<FailPoint>[0]) => void) | undefined;
}

/** Who called, and for which call of ours where a plugin that we run did. */
interface Caller extends CallContext {
  readonly parent: Running | undefined;
}

/** How a call went. */
interface Ending extends Pick<Flight, "startedAt" | "totalMs"> {
  /** Undefined: it succeeded. */
  readonly failure: unknown;
  readonly nested: boolean;
}

/** Every CNI call of this node: what the shim asked is decoded, ordered, bounded, run and recorded here. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #verbs: Verbs;
  readonly #sandboxes = new KeyedLock();
  readonly #queue = new FairQueue({ slots, maxWaiting });
  readonly #turns = new FairQueue({ slots: turns, spare: spareTurns, maxWaiting: Number.MAX_SAFE_INTEGER });
  /** Calls under way, by what their plugins know them. */
  readonly #running = new Map<string, Running>();

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#verbs = new Verbs(options);
  }

  /** Calls at work and calls that wait for their turn. */
  get depth(): { readonly inside: number; readonly waiting: number } {
    return this.#queue.depth;
  }

  /** Resolves at the next moment in which no call is at work. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** Runs `act` while no call of this sandbox is at work; calls that come meanwhile wait. */
  exclusive<T>(containerId: string, act: () => Promise<T>, o: Signal): Promise<T> {
    return this.#sandboxes.run(containerId, act, o);
  }

  /** Answers one call. Never throws. */
  async handle(raw: RawCall, context: CallContext): Promise<PluginOutput> {
    let cniVersion: string = latestVersion;
    let request: CniRequest | undefined;
    try {
      const call = decodeCall(raw, { pathRequired: raw.executable === "multus" });
      if (call.kind !== "request") return successOutput(versionDocument());
      request = call.request;
      cniVersion = request.config.cniVersion;
      const parent = this.#running.get(raw.env[parentVariable] ?? "");
      return await this.#run(request, { ...context, parent });
    } catch (error) {
      return failureOutput(ipamFailure(request, error), cniVersion);
    }
  }

  /** Runs, in its turn, a call that no runtime made, without foreign plugins. Returns ADD's result. Throws if the call fails. */
  async perform(request: CniRequest, { signal }: Signal): Promise<CniResult> {
    const exec: CallContext["exec"] = () =>
      Promise.reject(new SpiderError("NO_SHIM", "foreign plugins run only during a call of the runtime"));
    const { stdout } = await this.#run(request, { exec, signal, parent: undefined });
    return stdout.length === 0 ? emptyResult : decodeResult(parseJsonObject(stdout, "result"));
  }

  #run(request: CniRequest, caller: Caller): Promise<PluginOutput> {
    const verbs = this.#verbs;
    const { addMsMax = usualAddMsMax } = this.#options;
    switch (request.verb) {
      case "ADD":
        return this.#ordered(request, addMsMax, caller, (running) => verbs.add(request, running));
      case "DEL":
        return this.#ordered(request, delMsMax, lasting(caller), (running) => verbs.del(request, running));
      case "CHECK":
        return this.#ordered(request, addMsMax, caller, (running) => verbs.check(request, running));
      case "STATUS":
        return this.#bounded(request, statusMsMax, caller, (running) => verbs.status(request, running));
      case "GC":
        return this.#gc(request, lasting(caller));
    }
  }

  /**
   * One call at a time for each sandbox; bounded and fair among all. A call of ours that one of our plugins' plugins makes
   * for the same sandbox is part of the call that waits for it.
   */
  #ordered(
    request: CniRequest,
    deadlineMs: number,
    caller: Caller,
    act: (running: Running) => Promise<PluginOutput>,
  ): Promise<PluginOutput> {
    return this.#bounded(request, deadlineMs, caller, async (running) => {
      const { signal } = running.steps;
      if (caller.parent?.containerId === request.containerId) return act(running);
      const tenant = request.pod?.namespace ?? "";
      return this.#sandboxes.run(
        request.containerId,
        async () => {
          try {
            await running.steps.run("queue", async () =>
              running.steps.own(await this.#queue.enter(tenant, { signal })),
            );
            return await act(running);
          } catch (error) {
            await running.abort(); // Within the turn: nobody else may see it half undone.
            throw error;
          }
        },
        { signal },
      );
    });
  }

  /** In a crowd the event loop turns between two turns: calls that have just come take part, too. */
  async #turn({ pod }: CniRequest, o: Signal): Promise<Disposable> {
    const tenant = pod?.namespace ?? "";
    const crowded = !this.#turns.isOpenFor(tenant);
    const turn = await this.#turns.enter(tenant, o);
    if (crowded) await setImmediate();
    return turn;
  }

  /** With a deadline, all or nothing, and with a flight record. */
  async #bounded(
    request: CniRequest,
    deadlineMs: number,
    caller: Caller,
    act: (running: Running) => Promise<PluginOutput>,
  ): Promise<PluginOutput> {
    const { clock, log, failPoint } = this.#options;
    const { verb, containerId } = request;
    const startedAt = clock.wall().toISOString();
    const startMs = clock.monotonicMs();
    using signal = withTimeout(caller.signal, deadlineMs, () => late(verb, deadlineMs, running));
    const running: Running = new Running({
      ...{ clock, log, containerId, deadlineMs, signal, exec: caller.exec },
      turn: (o) => this.#turn(request, o),
      ...(failPoint === undefined ? {} : { failPoint: (point) => failPoint(verb, point) }),
    });
    this.#running.set(running.token, running);
    let failure: unknown;
    try {
      const output = await act(running);
      running.steps.commit();
      return output;
    } catch (error) {
      await running.abort();
      failure = error;
      if (verb === "ADD" && caller.parent === undefined) this.#options.failed(request, error);
      throw error;
    } finally {
      this.#running.delete(running.token);
      const totalMs = clock.monotonicMs() - startMs;
      this.#ended(request, running, { startedAt, totalMs, failure, nested: caller.parent !== undefined });
    }
  }

  #ended(
    { verb, executable, containerId, ifName, pod, config }: CniRequest,
    { steps }: Running,
    { failure, nested, ...times }: Ending,
  ): void {
    const { flights, log, ended } = this.#options;
    const fields = { verb, executable, network: config.name, containerId, ifName, pod: podName(pod) };
    const error = failure === undefined ? {} : { error: formatError(failure) };
    const flight: Flight = { ...fields, ...times, ...error, ...(nested ? { nested } : {}), spans: steps.spans };
    // Runtimes ask for STATUS every few seconds: it would push out all that is of interest.
    if (verb !== "STATUS" || failure !== undefined) flights.add(flight);
    ended?.(flight, failure);
    if (failure === undefined) log.debug({ ...fields, durationMs: times.totalMs }, "CNI call");
    else log.warn({ ...fields, durationMs: times.totalMs, err: formatError(failure) }, "a CNI call failed");
  }

  /** Takes down what is stale, then has the plugins collect. All are tried; the first failure is thrown at the end. */
  async #gc(request: CniRequest, caller: Caller): Promise<PluginOutput> {
    const failures: unknown[] = [];
    const atWork = new Set(Array.from(this.#running.values(), (running) => running.containerId));
    const attempt = (act: Promise<unknown>) => act.catch((error: unknown) => failures.push(error));
    for (const { containerId, ifName, netns, pod } of this.#verbs.stale(request, atWork)) {
      const of = { containerId, ifName, netns: netns.path, pod: pod ?? undefined };
      const del: CniRequest = { ...request, ...of, verb: "DEL" };
      await attempt(this.#ordered(del, delMsMax, caller, (running) => this.#verbs.del(del, running)));
    }
    await attempt(this.#bounded(request, delMsMax, caller, (running) => this.#verbs.gc(request, running)));
    if (failures.length > 0) throw failures[0];
    return successOutput();
  }
}

/** The call's deadline came: what it waits for is what its unfinished stages are about. */
function late(verb: string, deadlineMs: number, { steps }: Running): CniError {
  const unfinished = steps.unfinished.join(", ") || "nothing yet: another call of the sandbox was before it";
  return new CniError(cniCodes.tryAgain, `${verb} was not done within ${deadlineMs / 1000} s`, {
    details: { unfinished },
  });
}

/** Goes on when the runtime has given it up. */
function lasting(caller: Caller): Caller {
  return { ...caller, signal: never };
}

function podName(pod: Attachment["pod"]): string {
  return pod === undefined ? "" : `${pod.namespace}/${pod.name}`;
}

/** What the IPAM plugin prints of a failure begins with its task, in words that the plugins which call it know. */
function ipamFailure(request: CniRequest | undefined, error: unknown): unknown {
  const tasks: Partial<Record<CniRequest["verb"], string>> = { ADD: "allocation", DEL: "release" };
  const task = request?.executable === ownIpam ? tasks[request.verb] : undefined;
  if (task === undefined) return error;
  const { cniCode, message, text } = CniError.from(error);
  return new CniError(cniCode, `spiderpool IP ${task} error: ${message}`, { text, cause: error });
}
