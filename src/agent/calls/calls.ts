import { setImmediate } from "node:timers/promises";
import { type FailPoint, FairQueue, formatError, KeyedLock, never, type Signal, withTimeout } from "#base";
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
import { ownIpam } from "../sandboxes/chain.ts";
import { noShim } from "../sandboxes/foreign.ts";
import { isForAllNetworks } from "../sandboxes/recording.ts";
import type { Flight, Flights } from "./flights.ts";
import { parentVariable, Running } from "./running.ts";
import type { CallContext } from "./server.ts";
import { Verbs, type VerbsOptions } from "./verbs.ts";

/** How long an ADD may take. After that it fails, and everything that it made is undone. */
const usualAddMsMax = 30_000;
/** How long a DEL may take. It may wait for Open vSwitch, but never for the API server. */
const delMsMax = 20_000;
/** How many calls run at a time. They are many, because Open vSwitch reconfigures once for all that wait. */
const slots = 256;
const maxWaiting = 1_000;
/** Slots for stages that block the thread. Namespaces take turns, so that a burst of one delays no Pod of another. */
const turns = 2;
/** A further slot for a namespace that has none. Otherwise each stage of its call would wait for a stage of the burst. */
const spareTurns = 1;
/**
 * For how long turns are given before the event loop goes on. DELs that begin together have their ports taken away together: each
 * transaction has Open vSwitch go through all ports.
 */
const roundMsMax = { usual: 3, del: 10 } as const;
/** So many namespaces have their first turns in each round, however late: their calls do not wait for those of a burst. */
const tenantsMax = 4;
/**
 * As many as an ADD takes before it waits for others: it begins, writes its record, opens the Pod's namespace, makes its links. A
 * namespace that is the only one has a single one.
 */
const firstTurns = 4;
/** How long a STATUS may take. Runtimes ask every few seconds, and wait for the answer. */
const statusMsMax = 1_000;

/** What calls need: the parts that the verbs use, limits, and callbacks. */
export interface CallsOptions extends VerbsOptions {
  readonly flights: Flights;
  /** @default 30 s. Runtimes give up after two minutes or more, and what was made must be undone by then. */
  readonly addMsMax?: number;
  /** Called if an ADD failed, to tell the Pod's owner. */
  readonly failed: (attachment: Attachment, error: unknown) => void;
  /** Called for each call that has ended. */
  readonly ended?: (flight: Flight, failure: unknown) => void;
  /** Called before and after each stage, with the call's verb. */
  readonly failPoint?: ((verb: string, point: Parameters<FailPoint>[0]) => void) | undefined;
}

/** The caller. If a plugin that we run calls us, also the call of ours that runs it. */
interface Caller extends CallContext {
  readonly parent: Running | undefined;
}

/** A round of the event loop in which turns are given. */
interface Round {
  readonly sinceMs: number;
  readonly over: Promise<void>;
  /** The namespaces that had turns in it, and how many. */
  readonly tenants: Map<string, number>;
}

/** How a call went. */
interface Ending extends Pick<Flight, "startedAt" | "totalMs"> {
  /** Undefined if it succeeded. */
  readonly failure: unknown;
  readonly nested: boolean;
}

/** Decodes, orders, limits, runs and records every CNI call of this node. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #verbs: Verbs;
  readonly #sandboxes = new KeyedLock();
  readonly #queue = new FairQueue({ slots, maxWaiting });
  readonly #turns = new FairQueue({ slots: turns, spare: spareTurns, maxWaiting: Number.MAX_SAFE_INTEGER });
  #round: Round | undefined;
  /** Running calls, by the key that their plugins know. */
  readonly #running = new Map<string, Running>();

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#verbs = new Verbs(options);
  }

  /** Running calls, and calls that wait for their turn. */
  get depth(): { readonly inside: number; readonly waiting: number } {
    return this.#queue.depth;
  }

  /** Resolves as soon as no call is running. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** Runs `act` while no call of this sandbox is running. Calls that arrive meanwhile wait. */
  exclusive<T>(containerId: string, act: () => Promise<T>, o: Signal): Promise<T> {
    return this.#sandboxes.run(containerId, act, o);
  }

  /** Answers one call. Never throws. */
  async handle(raw: RawCall, context: CallContext): Promise<PluginOutput> {
    let cniVersion: string = latestVersion;
    let request: CniRequest | undefined;
    try {
      const call = decodeCall(raw, { pathRequired: isForAllNetworks(raw) });
      if (call.kind !== "request") return successOutput(versionDocument());
      request = call.request;
      cniVersion = request.config.cniVersion;
      const parent = this.#running.get(raw.env[parentVariable] ?? "");
      return await this.#run(request, { ...context, parent });
    } catch (error) {
      return failureOutput(ipamFailure(request, error), cniVersion);
    }
  }

  /** Runs a call that no runtime made, without foreign plugins. Returns the result of an ADD. Throws if the call fails. */
  async perform(request: CniRequest, { signal }: Signal): Promise<CniResult> {
    const exec: CallContext["exec"] = ({ argv0 }) => Promise.reject(noShim(argv0));
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
   * Runs one call at a time for each sandbox, and a limited number in all, fairly between namespaces. A foreign plugin that we
   * run may call us for the same sandbox: such a call is part of the one that waits for the plugin.
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
            const turn = await running.steps.run("queue", async () => {
              running.steps.own(await this.#queue.enter(tenant, { signal }));
              return running.steps.own(await this.#turn(request, { signal }));
            });
            return await begun(turn, () => act(running));
          } catch (error) {
            await running.abort(); // Before the turn ends, so that no other call sees it half undone.
            throw error;
          }
        },
        { signal },
      );
    });
  }

  /**
   * Gives turns for some milliseconds of each round of the event loop. In a burst hundreds of calls arrive in one: without a pause,
   * what arrives after them (a call of another namespace, the database's answer) would wait until the thread has worked off all.
   */
  async #turn({ pod, verb }: CniRequest, o: Signal): Promise<Disposable> {
    const { clock } = this.#options;
    const tenant = pod?.namespace ?? "";
    const msMax = verb === "DEL" ? roundMsMax.del : roundMsMax.usual;
    const turn = await this.#turns.enter(tenant, o);
    for (;;) {
      this.#round ??= this.#newRound(clock.monotonicMs());
      const round = this.#round;
      const had = round.tenants.get(tenant) ?? 0;
      const others = round.tenants.size - (had > 0 ? 1 : 0);
      const isFirst = others < tenantsMax && (had === 0 || (others > 0 && had < firstTurns));
      if (isFirst || clock.monotonicMs() - round.sinceMs < msMax) {
        round.tenants.set(tenant, had + 1);
        return turn;
      }
      await round.over;
    }
  }

  #newRound(sinceMs: number): Round {
    const over = setImmediate().then(() => {
      this.#round = undefined;
    });
    return { sinceMs, over, tenants: new Map() };
  }

  /** Runs a call with a deadline and a flight record. If it fails, what it did is undone. */
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
      clock,
      log,
      containerId,
      deadlineMs,
      signal,
      exec: caller.exec,
      turn: (o) => this.#turn(request, o),
      ...(failPoint !== undefined && { failPoint: (point) => failPoint(verb, point) }),
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
    const flight: Flight = { ...fields, ...times, ...error, ...(nested && { nested }), spans: steps.spans };
    // Runtimes ask for STATUS every few seconds. Its flights would displace all others.
    if (verb !== "STATUS" || failure !== undefined) flights.add(flight);
    ended?.(flight, failure);
    if (failure === undefined) log.debug({ ...fields, durationMs: times.totalMs }, "CNI call");
    else log.warn({ ...fields, durationMs: times.totalMs, err: formatError(failure) }, "a CNI call failed");
  }

  /** Removes stale sandboxes, then lets the plugins collect. All are tried; the first failure is thrown at the end. */
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

/** Errors of the IPAM plugin begin with its task, in words that the plugins which call it know. */
function ipamFailure(request: CniRequest | undefined, error: unknown): unknown {
  const tasks: Partial<Record<CniRequest["verb"], string>> = { ADD: "allocation", DEL: "release" };
  const task = request?.executable === ownIpam ? tasks[request.verb] : undefined;
  if (task === undefined) return error;
  const { cniCode, message, text } = CniError.from(error);
  return new CniError(cniCode, `spiderpool IP ${task} error: ${message}`, { text, cause: error });
}

/** The result of `act`, whose part up to its first wait takes the turn. */
function begun<T>(turn: Disposable, act: () => Promise<T>): Promise<T> {
  using _turn = turn;
  return act();
}
