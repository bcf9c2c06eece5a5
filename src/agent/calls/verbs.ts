import { type Clock, formatError, type Logger, never, type Signal } from "#base";
import {
  CniError,
  type CniRequest,
  type CniResult,
  cniCodes,
  emptyResult,
  encodeResult,
  type Ipam,
  type PluginConfig,
  type PluginOutput,
  type PodRef,
  successOutput,
  type ValidAttachment,
  validAttachments,
} from "#cni";
import { isPodUid, type Pod } from "#kube";
import { bootId } from "#linux";
import { addFailure, applyDefaultRoutes, type DefaultRoutePlan, type Delegate, planDefaultRoutes } from "#multus";
import { allocateForeign, type Detection, freePodOf, noDetection } from "#plugins";
import { uidOf } from "../cluster/pods.ts";
import { ownIpam } from "../sandboxes/chain.ts";
import {
  type AttachedDelegate,
  type CalledDelegate,
  calledDelegate,
  checkNetns,
  completed,
  isForAllNetworks,
  newRecord,
  recordedCall,
  recordedNetwork,
  recordKey,
  recordMeanwhile,
  recordNetwork,
  refuseOwnNetns,
} from "../sandboxes/recording.ts";
import {
  isSandboxThere,
  type RecordedNetwork,
  type Records,
  recordedResult,
  type SandboxRecord,
} from "../sandboxes/records.ts";
import { moveDefaultRoutes } from "./default-routes.ts";
import { offerDeviceInfo, readDeviceInfo, removeDeviceInfo } from "./device-info.ts";
import { awaitNetworks, type NetworksOptions, planNetworks, refuseUnready, waitForOthers } from "./networks.ts";
import { hostOf, type Running } from "./running.ts";

/** What the verbs need beside networks and plugins: records, addresses, the Pod, and what follows after the answer. */
export interface VerbsOptions extends NetworksOptions {
  readonly records: Records;
  /** The configuration's `ipam`, for whoever calls the executable `spiderpool` by itself. */
  readonly ipamFor: (config: PluginConfig) => Ipam | undefined;
  /** For addresses that a foreign plugin asks for. @default neither */
  readonly detection?: Detection;
  /** A Pod that is known without asking, in whatever state; absent: none is. */
  readonly knownPod?: (ref: PodRef) => Pod | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** The Pod of a call, alive. */
  readonly findPod: (request: CniRequest, o: Signal) => Promise<Pod>;
  /** What follows after the answer: SpiderEndpoint, network-status, Events. */
  readonly added: (attached: readonly AttachedDelegate[], pod: Pod) => void;
  /** The same where others attach the Pod and we gave the addresses alone: their Multus writes the rest. */
  readonly addressed: (pod: Pod) => void;
  /** Releases what the Pod's sandbox held, where the Pod is gone. */
  readonly removed: (request: CniRequest, how: { readonly recorded: boolean }) => void;
}

/** What an ADD knows before it makes anything. */
interface Beginning {
  readonly netns: SandboxRecord["netns"];
  readonly pod: Pod;
  readonly called: readonly CalledDelegate[];
  /** What is on record of an earlier ADD of the sandbox. */
  readonly former: SandboxRecord | undefined;
}

/** What each verb does, once its turn has come. */
export class Verbs {
  readonly #options: VerbsOptions;

  constructor(options: VerbsOptions) {
    this.#options = options;
  }

  async add(asked: CniRequest, running: Running): Promise<PluginOutput> {
    const { records, findPod, added, addressed, clock } = this.#options;
    const { steps } = running;
    const netns = checkNetns(asked, steps);
    const pod = await steps.run("pod", (o) => findPod(asked, o));
    const request = { ...asked, pod: refOf(pod, asked.pod) };
    const former = await this.#formerOf(request, running);
    // May wait, so it takes no turn: calls whose networks are there go on.
    const delegates = await steps.run("networks", async (o) => {
      await waitForOthers(request, this.#options, o);
      return awaitNetworks(request, pod, this.#options, o);
    });
    const host = hostOf(request, running);
    const called = delegates.map((delegate) => calledDelegate(request, delegate, host));
    const { routes, record } = await this.#begin(request, { netns, pod, called, former }, running);
    const attached = await this.#attachAll(request, called, routes, running);
    const complete = completed(record, attached, clock.monotonicMs());
    // One word of vswitchd is what many ADDs of a crowd wait for: each ends in a turn.
    await steps.run("record", () => records.write(complete), { blocking: true });
    const master = attached[0]?.result ?? emptyResult;
    // The answer is on its way before the first of the writes that follow it.
    setImmediate(() => (request.executable === ownIpam ? addressed(pod) : added(attached, pod)));
    return steps.run("reply", () => successOutput(encodeResult(master, request.config.cniVersion)));
  }

  /**
   * What is on record of the sandbox, from an earlier ADD. Where that was this very call, it was cut off by the end of an agent, and
   * its shim says it again: what was done for it is taken down first. Nobody was told of it, so that nothing runs by it.
   */
  async #formerOf(request: CniRequest, running: Running): Promise<SandboxRecord | undefined> {
    const { records, log } = this.#options;
    const found = records.read(recordKey(request));
    if (found?.calledMs === undefined || found.calledMs !== request.calledMs) return found;
    const [failure] = await this.#takeDown(request, found.networks, running);
    if (failure !== undefined) throw failure;
    removeDeviceInfo(found, log);
    records.remove(recordKey(request));
    return undefined;
  }

  /** Checks every configuration, then writes down what is about to be made: nothing is made before. */
  async #begin(request: CniRequest, { netns, pod, called, former }: Beginning, running: Running) {
    const { records, log } = this.#options;
    const begin = async () => {
      const delegates = called.map(({ delegate }) => delegate);
      const routes = planDefaultRoutes(delegates);
      const interfaces = delegates.map(({ ifName }) => ifName);
      for (const one of called) await this.#verify(request, one, interfaces, running);
      const record = newRecord(request, netns, pod, called);
      records.write(recordMeanwhile(record, former));
      offerDeviceInfo(delegates, log);
      return { routes, record };
    };
    // What could not be undone is left to the runtime's DEL, which goes by the record. One of an earlier ADD holds again: its
    // sandbox may run.
    const undo = () => {
      if (!running.undone) return;
      if (former !== undefined) return records.write(former);
      removeDeviceInfo(records.read(recordKey(request)), log);
      records.remove(recordKey(request));
    };
    return await running.steps.run("networks", begin, { undo, blocking: true });
  }

  /** Attaches the Pod to one network after the other, and waits until each of them works. */
  async #attachAll(
    request: CniRequest,
    called: readonly CalledDelegate[],
    routes: ReturnType<typeof planDefaultRoutes>,
    running: Running,
  ): Promise<readonly AttachedDelegate[]> {
    const attached: AttachedDelegate[] = [];
    for (const [at, one] of called.entries()) {
      const { delegate } = one;
      try {
        const result = await this.#attach(request, one, routes[at], running);
        attached.push({ delegate, result, deviceInfo: readDeviceInfo(delegate.deviceInfoFile, this.#options.log) });
      } catch (error) {
        throw delegateError(request, delegate, error);
      }
    }
    await running.steps.settled((error, of) => {
      const one = called.find(({ delegate }) => delegate.ifName === of);
      return one === undefined ? error : delegateError(request, one.delegate, error);
    });
    return attached;
  }

  async #attach(
    request: CniRequest,
    { delegate, call }: CalledDelegate,
    routes: DefaultRoutePlan | undefined,
    running: Running,
  ): Promise<CniResult> {
    const { steps } = running;
    if (request.executable === ownIpam) {
      const { detection = noDetection } = this.#options;
      const how = { ipam: this.#ipam(request), steps, detection };
      const { ips, routes: given } = await allocateForeign(call.attachment, how);
      return { interfaces: [], ips, routes: given };
    }
    const before = isForAllNetworks(request) ? undefined : request.config.prevResult;
    const result = await this.#options.chain.add(delegate.network, call, steps, before);
    if (routes === undefined || (routes.remove.length === 0 && routes.add.length === 0)) return result;
    await steps.run("addresses", () => moveDefaultRoutes(request.netns, delegate.ifName, routes), {
      of: delegate.ifName,
    });
    return applyDefaultRoutes(result, routes);
  }

  #ipam({ config }: CniRequest): Ipam {
    const ipam = this.#options.ipamFor(config);
    if (ipam !== undefined) return ipam;
    throw new CniError(cniCodes.invalidConfig, "the network configuration has no ipam", {
      details: { field: "ipam.type", allowed: ownIpam },
    });
  }

  /** Every plugin's configuration is checked before the first one acts. */
  async #verify(
    request: CniRequest,
    { delegate, call }: CalledDelegate,
    interfaces: readonly string[],
    running: Running,
  ): Promise<void> {
    const { chain } = this.#options;
    const [first] = delegate.network.plugins;
    const { ifName } = delegate;
    try {
      // Ours look themselves. lo is in every namespace.
      const isForeign = first !== undefined && chain.plugin(first.type) === undefined;
      if (isForAllNetworks(request) && isForeign && ifName !== "lo") freePodOf({ ...request, ifName }, running.steps);
      const host = hostOf(request, running);
      // Another meta-plugin has us attach one of several.
      const all = isForAllNetworks(request) ? interfaces : undefined;
      await chain.verify(delegate.network, call, host, all, running.steps);
    } catch (error) {
      throw delegateError(request, delegate, error);
    }
  }

  async del(request: CniRequest, running: Running): Promise<PluginOutput> {
    const { records, removed, log } = this.#options;
    const { steps } = running;
    const record = records.read(recordKey(request));
    if (record === undefined) refuseOwnNetns(request);
    // Without a record nobody knows whether there was anything: that must not keep a Pod from ending.
    const isTold = record !== undefined || !isForAllNetworks(request);
    const failures = await this.#takeDown(request, record?.networks ?? this.#unrecorded(request, running), running);
    if (isTold && failures.length > 0) throw failures[0];
    for (const error of failures) log.info({ pod: request.pod, err: formatError(error) }, "nothing taken down");
    removeDeviceInfo(record, log);
    await steps.run("record", () => records.remove(recordKey(request)));
    removed({ ...request, pod: request.pod ?? record?.pod ?? undefined }, { recorded: record !== undefined });
    return steps.run("reply", () => successOutput());
  }

  /** Runs DEL of the networks, the last one first. All are tried; returns what failed. */
  async #takeDown(
    request: CniRequest,
    networks: readonly RecordedNetwork[],
    running: Running,
  ): Promise<readonly unknown[]> {
    const failures: unknown[] = [];
    for (const network of networks.toReversed()) {
      const call = recordedCall(request, network, hostOf(request, running));
      const del = async (o: Signal) => {
        await this.#options.chain.del(recordedNetwork(network), call, recordedResult(network), o);
        if (request.executable === ownIpam) await this.#ipam(request).release(call.attachment, { signal: never });
      };
      await running.steps.run("link", del, { of: network.ifName }).catch((error: unknown) => failures.push(error));
    }
    return failures;
  }

  /**
   * A DEL without a record: an ADD never came this far, another meta-plugin made the sandbox, or the file was lost. What can
   * still be resolved is cleaned up, of a Pod's networks as its annotations name them now.
   */
  #unrecorded(request: CniRequest, running: Running): readonly RecordedNetwork[] {
    const pod = request.pod && this.#options.knownPod?.(request.pod);
    if (isForAllNetworks(request) && (pod === undefined || !isPodUid(pod, request.pod?.uid ?? ""))) return [];
    try {
      const host = hostOf(request, running);
      return planNetworks(request, pod, this.#options)
        .map((delegate) => calledDelegate(request, delegate, host))
        .map(recordNetwork);
    } catch (error) {
      if (isForAllNetworks(request)) return []; // Nobody can say any more what there was.
      throw error;
    }
  }

  async check(request: CniRequest, running: Running): Promise<PluginOutput> {
    const record = this.#options.records.read(recordKey(request));
    if (record === undefined || !record.complete) {
      throw new CniError(cniCodes.unknownContainer, `no ADD of container ${request.containerId} is on record`);
    }
    for (const network of record.networks) {
      const result = recordedResult(network);
      if (result === undefined) continue;
      const call = recordedCall(request, network, hostOf(request, running));
      await running.steps.run(
        "link",
        async (o) => {
          await this.#options.chain.check(recordedNetwork(network), call, result, o);
          if (request.executable === ownIpam) await this.#ipam(request).check(call.attachment, result, o);
        },
        { of: network.ifName },
      );
    }
    return successOutput();
  }

  /** Whether an ADD can work: asked of the plugins of the default network. Throws CniError 50. */
  async status(request: CniRequest, running: Running): Promise<PluginOutput> {
    try {
      refuseUnready(request, this.#options);
      const [first] = planNetworks(request, undefined, this.#options);
      if (first !== undefined) {
        await this.#options.chain.status(first.network, hostOf(request, running), running.steps);
      }
      return successOutput();
    } catch (error) {
      throw CniError.from(error, cniCodes.notAvailable);
    }
  }

  /**
   * The sandboxes that the runtime no longer knows of this network. An empty list may also come from a runtime that lost its
   * memory: then only those whose namespace is gone. Containers with a call at work are younger than the runtime's list, and
   * so are those whose ADD was answered while this call waited for an agent.
   */
  stale(request: CniRequest, atWork: ReadonlySet<string>): readonly SandboxRecord[] {
    const valid = validAttachments(request.config.raw);
    const { plugin } = recordKey(request);
    const isValid = ({ containerId, ifName }: SandboxRecord) =>
      valid.some((one) => one.containerId === containerId && one.ifName === ifName);
    return this.#options.records
      .list()
      .filter((record) => record.network === request.config.name && record.plugin === plugin)
      .filter((record) => !isValid(record) && !atWork.has(record.containerId))
      .filter(
        ({ bootId: boot, answeredAtMs = 0 }) =>
          boot !== bootId() || answeredAtMs < (request.calledMs ?? Number.POSITIVE_INFINITY),
      )
      .filter((record) => valid.length > 0 || !isSandboxThere(record));
  }

  /** Has the plugins of the cluster's networks collect what no sandbox on record holds. */
  async gc(request: CniRequest, running: Running): Promise<PluginOutput> {
    if (request.executable === ownIpam) return successOutput();
    for (const { network } of planNetworks(request, undefined, this.#options)) {
      await this.#options.chain.gc(network, this.#validOf(network.name), hostOf(request, running), running.steps);
    }
    return successOutput();
  }

  #validOf(networkName: string): readonly ValidAttachment[] {
    return this.#options.records
      .list()
      .flatMap(({ containerId, networks }) =>
        networks.filter((one) => one.networkName === networkName).map(({ ifName }) => ({ containerId, ifName })),
      );
  }
}

/** The Pod by the UID that the runtime uses; by its own where the runtime gives none. */
function refOf(pod: Pod, asked: PodRef | undefined): PodRef {
  return { namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: uidOf(asked, pod) };
}

/** Of the meta-plugin an error names the network in which it happened. */
function delegateError(request: CniRequest, delegate: Delegate, error: unknown): unknown {
  return isForAllNetworks(request) ? addFailure(request.pod, delegate, error) : error;
}
