import {
  type Clock,
  type FailPoint,
  FairQueue,
  formatError,
  KeyedLock,
  type Logger,
  never,
  type Signal,
  Steps,
  withTimeout,
} from "#base";
import {
  type Attachment,
  CniError,
  type CniRequest,
  type CniResult,
  cniCodes,
  decodeCall,
  encodeResult,
  failureOutput,
  latestVersion,
  type Network,
  type PluginOutput,
  type RawCall,
  successOutput,
  validAttachments,
  versionDocument,
} from "#cni";
import type { Pod } from "#kube";
import { openNetns, readNetnsId } from "#linux";
import { addFailure, type ConfigSource, type Delegate, decodeSettings, planDelegates } from "#multus";
import { type Chain, recordedResult } from "./chain.ts";
import type { Flights } from "./flights.ts";
import { chainCall, completed, newRecord, recordedCall, recordedNetwork, recordNetwork } from "./recording.ts";
import { isSandboxThere, type RecordedNetwork, type Records, type SandboxRecord } from "./records.ts";
import type { CallContext } from "./server.ts";

/** An ADD that is not done by then fails, and everything that it made is undone. */
const addMsMax = 30_000;
/** A DEL may wait for Open vSwitch, never for the API server. */
const delMsMax = 20_000;
/** Calls that work at once: many, because Open vSwitch reconfigures once for all that are waiting. */
const slots = 256;
const maxWaiting = 1_000;
/** Runtimes ask every few seconds, and wait. */
const statusMsMax = 1_000;

export interface CallsOptions {
  readonly chain: Chain;
  readonly records: Records;
  readonly flights: Flights;
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly log: Logger;
  /** The Pod of a call, alive. */
  readonly findPod: (attachment: Attachment, o: Signal) => Promise<Pod>;
  /** What follows after the answer: SpiderEndpoint, network-status, Events. */
  readonly added: (attached: readonly AttachedDelegate[], pod: Pod) => void;
  readonly failed: (attachment: Attachment, error: unknown) => void;
  /** Releases what the Pod's sandbox held, where the Pod is gone. */
  readonly removed: (attachment: Attachment) => void;
  /** Told of each point before and after a stage, with the call's verb. */
  readonly failPoint?: ((verb: string, point: Parameters<FailPoint>[0]) => void) | undefined;
}

export interface AttachedDelegate {
  readonly delegate: Delegate;
  readonly result: CniResult;
}

/** Every CNI call of this node: what the shim asked is decoded, ordered, bounded, run and recorded here. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #sandboxes = new KeyedLock();
  readonly #queue = new FairQueue({ slots, maxWaiting });

  constructor(options: CallsOptions) {
    this.#options = options;
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
    try {
      const call = decodeCall(raw, { pathRequired: raw.executable === "multus" });
      if (call.kind !== "request") return successOutput(versionDocument());
      cniVersion = call.request.config.cniVersion;
      return await this.#run(call.request, context);
    } catch (error) {
      return failureOutput(error, cniVersion);
    }
  }

  #run(request: CniRequest, context: CallContext): Promise<PluginOutput> {
    switch (request.verb) {
      case "ADD":
        return this.#ordered(request, addMsMax, context.signal, (steps) => this.#add(request, context, steps));
      case "DEL":
        return this.#ordered(request, delMsMax, never, (steps) => this.#del(request, context, steps));
      case "CHECK":
        return this.#ordered(request, addMsMax, context.signal, (steps) => this.#check(request, context, steps));
      case "STATUS":
        return this.#status(request);
      case "GC":
        return this.#gc(request, context);
    }
  }

  /** One call at a time for each sandbox; bounded and fair among all; with a deadline; with a flight record. */
  async #ordered(
    request: CniRequest,
    deadlineMs: number,
    caller: AbortSignal,
    act: (steps: Steps) => Promise<PluginOutput>,
  ): Promise<PluginOutput> {
    const { clock, log, flights, failPoint } = this.#options;
    const { verb, containerId, ifName, pod } = request;
    const startedAt = clock.wall().toISOString();
    const startMs = clock.monotonicMs();
    using signal = withTimeout(
      caller,
      deadlineMs,
      () => new CniError(cniCodes.tryAgain, `${verb} was not done within ${deadlineMs / 1000} s`),
    );
    const steps = new Steps({
      clock,
      signal,
      ...(failPoint === undefined ? {} : { failPoint: (point) => failPoint(verb, point) }),
      onUndoError: (stage, err) =>
        log.error({ containerId, stage, err }, "a step of a failed call could not be undone"),
    });
    let failure: unknown;
    try {
      return await this.#sandboxes.run(
        containerId,
        async () => {
          try {
            using _slot = await steps.run("queue", () => this.#queue.enter(pod?.namespace ?? "", { signal }));
            const output = await act(steps);
            steps.commit();
            return output;
          } catch (error) {
            await steps.abort();
            throw error;
          }
        },
        { signal },
      );
    } catch (error) {
      failure = error;
      if (verb === "ADD") this.#options.failed(request, error);
      log.warn({ verb, containerId, ifName, pod: podName(request), err: formatError(error) }, "a CNI call failed");
      throw error;
    } finally {
      const totalMs = clock.monotonicMs() - startMs;
      const error = failure === undefined ? {} : { error: formatError(failure) };
      flights.add({
        verb,
        containerId,
        ifName,
        pod: podName(request),
        startedAt,
        totalMs,
        ...error,
        spans: steps.spans,
      });
      log.debug({ verb, containerId, pod: podName(request), durationMs: totalMs }, "CNI call");
    }
  }

  async #add(request: CniRequest, context: CallContext, steps: Steps): Promise<PluginOutput> {
    const { records, findPod } = this.#options;
    const netns = checkNetns(request);
    const pod = await steps.run("pod", (o) => findPod(request, o));
    const { delegates, record } = await steps.run(
      "networks",
      () => {
        const planned = this.#plan(request, pod);
        for (const delegate of planned) this.#verify(request, delegate, context);
        const fresh = newRecord(request, netns, pod, planned);
        records.write(fresh);
        return { delegates: planned, record: fresh };
      },
      { undo: () => records.remove(request.containerId, request.ifName) },
    );
    const attached: AttachedDelegate[] = [];
    for (const delegate of delegates) {
      try {
        const call = chainCall(request, delegate, context);
        attached.push({
          delegate,
          result: await this.#options.chain.add(delegate.network, call, steps, request.config.prevResult),
        });
      } catch (error) {
        throw delegateError(request, delegate, error);
      }
    }
    await steps.settled();
    const complete = completed(record, attached);
    await steps.run("record", () => records.write(complete));
    const master = attached[0]?.result ?? { interfaces: [], ips: [], routes: [] };
    // The answer is on its way before the first of the writes that follow it.
    setImmediate(() => this.#options.added(attached, pod));
    return steps.run("reply", () => successOutput(encodeResult(master, request.config.cniVersion)));
  }

  /** Every plugin's configuration is checked before the first one acts. */
  #verify(request: CniRequest, delegate: Delegate, context: CallContext): void {
    try {
      this.#options.chain.verify(delegate.network, chainCall(request, delegate, context));
    } catch (error) {
      throw delegateError(request, delegate, error);
    }
  }

  /** The networks of the call: all of the Pod's for the meta-plugin, else the one plugin that was executed. */
  #plan(request: CniRequest, pod: Pod | undefined): readonly Delegate[] {
    const { source, chain } = this.#options;
    const { config, ifName } = request;
    if (request.executable === "multus") {
      const about = pod && { namespace: pod.metadata.namespace ?? "", annotations: pod.metadata.annotations ?? {} };
      return planDelegates({ settings: decodeSettings(config.raw), source, ifName, pod: about });
    }
    if (chain.plugin(config.type) === undefined) {
      throw new CniError(cniCodes.invalidConfig, `plugin type ${JSON.stringify(config.type)} is not one of ours`, {
        details: { executable: request.executable },
      });
    }
    const network: Network = {
      name: config.name,
      cniVersion: config.cniVersion,
      plugins: [{ type: config.type, raw: config.raw }],
      disableCheck: false,
      disableGc: false,
      loadOnlyInlinedPlugins: true,
    };
    return [{ displayName: config.name, network, ifName, master: true }];
  }

  async #del(request: CniRequest, context: CallContext, steps: Steps): Promise<PluginOutput> {
    const { records, chain, removed } = this.#options;
    const record = records.read(request.containerId, request.ifName);
    const failures: unknown[] = [];
    for (const network of record?.networks.toReversed() ?? this.#unrecorded(request)) {
      const call = recordedCall(request, network, context);
      const result = recordedResult(network.result, network.cniVersion);
      try {
        await steps.run("link", (o) => chain.del(recordedNetwork(network), call, result, o), { of: network.ifName });
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
    await steps.run("record", () => records.remove(request.containerId, request.ifName));
    removed({ ...request, pod: request.pod ?? record?.pod ?? undefined });
    return steps.run("reply", () => successOutput());
  }

  /** A DEL without a record: an ADD never came this far, or the file was lost. What can still be resolved is cleaned up. */
  #unrecorded(request: CniRequest): readonly RecordedNetwork[] {
    if (request.executable === "multus") return [];
    return this.#plan(request, undefined).map((delegate) => recordNetwork(delegate, request));
  }

  async #check(request: CniRequest, context: CallContext, steps: Steps): Promise<PluginOutput> {
    const record = this.#options.records.read(request.containerId, request.ifName);
    if (record === undefined || !record.complete) {
      throw new CniError(cniCodes.unknownContainer, `no ADD of container ${request.containerId} is on record`);
    }
    for (const network of record.networks) {
      const result = recordedResult(network.result, network.cniVersion);
      if (result === undefined) continue;
      const call = recordedCall(request, network, context);
      await steps.run("link", (o) => this.#options.chain.check(recordedNetwork(network), call, result, o), {
        of: network.ifName,
      });
    }
    return successOutput();
  }

  /** Whether an ADD can work: asked of the plugins of the default network. Throws CniError 50. */
  async #status(request: CniRequest): Promise<PluginOutput> {
    const signal = AbortSignal.timeout(statusMsMax);
    try {
      const [first] = this.#plan(request, undefined);
      for (const { type, raw } of first?.network.plugins ?? []) {
        const own = this.#options.chain.plugin(type);
        const { name, cniVersion } = first?.network ?? request.config;
        await own?.status?.(own.decode({ name, cniVersion, type, raw }), { signal });
      }
      return successOutput();
    } catch (error) {
      throw CniError.from(error, cniCodes.notAvailable);
    }
  }

  /**
   * Takes down what the runtime no longer knows of this network. An empty list may also come from a runtime that lost its
   * memory: then only sandboxes whose namespace is gone. All are tried; the first failure is thrown at the end.
   */
  async #gc(request: CniRequest, context: CallContext): Promise<PluginOutput> {
    const valid = validAttachments(request.config.raw);
    const isValid = ({ containerId, ifName }: SandboxRecord) =>
      valid.some((one) => one.containerId === containerId && one.ifName === ifName);
    const stale = this.#options.records
      .list()
      // An ADD that is at work now is younger than the runtime's list.
      .filter((record) => record.complete && record.network === request.config.name && !isValid(record))
      .filter((record) => valid.length > 0 || !isSandboxThere(record));
    const failures: unknown[] = [];
    for (const { containerId, ifName, netns, pod } of stale) {
      const del: CniRequest = {
        ...request,
        verb: "DEL",
        containerId,
        ifName,
        netns: netns.path,
        pod: pod ?? undefined,
      };
      await this.#ordered(del, delMsMax, never, (steps) => this.#del(del, context, steps)).catch((error: unknown) =>
        failures.push(error),
      );
    }
    if (failures.length > 0) throw failures[0];
    return successOutput();
  }
}

/** The namespace must be one, and not the host's: a plugin that worked there would take the node off the network. */
function checkNetns({ netns, netnsOverride }: CniRequest): SandboxRecord["netns"] {
  try {
    using opened = openNetns(netns);
    const own = readNetnsId("/proc/self/ns/net");
    if (own?.inode === opened.id.inode && own.device === opened.id.device && !netnsOverride) {
      throw new CniError(cniCodes.invalidNetns, "plugin's netns and netns from CNI_NETNS should not be the same", {
        details: { netns },
      });
    }
    return { path: netns, device: String(opened.id.device), inode: String(opened.id.inode) };
  } catch (error) {
    throw CniError.from(error, cniCodes.invalidNetns);
  }
}

function podName({ pod }: Attachment): string {
  return pod === undefined ? "" : `${pod.namespace}/${pod.name}`;
}

/** Of the meta-plugin an error names the network in which it happened. */
function delegateError({ executable, pod }: CniRequest, delegate: Delegate, error: unknown): unknown {
  return executable === "multus" ? addFailure(pod, delegate, error) : error;
}
