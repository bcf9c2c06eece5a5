import { abortable, type Clock, hasCode, type Signal, withTimeout } from "#base";
import { CniError, type CniRequest, cniCodes } from "#cni";
import type { Pod } from "#kube";
import {
  assignDevices,
  type ConfigSource,
  type Delegate,
  decodeSettings,
  networkNotFound,
  planDelegates,
} from "#multus";
import { uidOf } from "../cluster/pods.ts";
import { type Chain, ownIpam } from "../sandboxes/chain.ts";
import { isForAllNetworks } from "../sandboxes/recording.ts";

/** How long an ADD waits for another network's daemon; its own deadline may be earlier. */
const readyMsMax = 25_000;
const readyLookMs = 250;
/** A Pod younger than this may have been created together with its networks, before the controller has made them. */
const youngMsMax = 10_000;
/** How long the ADD of such a Pod waits for its networks. */
const networksMsMax = 2_000;

/** Where a Pod's networks are looked up, and which plugins run them. */
export interface NetworksOptions {
  readonly chain: Chain;
  readonly source: ConfigSource;
  /** Calls the listener whenever a network in the API changes. Returns the function that ends it. */
  readonly nadsChanged: (listener: () => void) => () => void;
  /** The devices that the kubelet has allocated to a Pod, by resource. @default none */
  readonly devicesOf?: (podUid: string) => ReadonlyMap<string, readonly string[]>;
  readonly clock: Clock;
}

/**
 * The networks of a call: all networks of the Pod for the meta-plugin, otherwise only the plugin that was executed.
 *
 * @throws CniError 7 for what cannot be resolved, or is not ours to run
 */
export function planNetworks(
  request: CniRequest,
  pod: Pod | undefined,
  { source, chain, devicesOf }: NetworksOptions,
): readonly Delegate[] {
  const { config, ifName, executable } = request;
  if (isForAllNetworks(request)) {
    const about = pod && { namespace: pod.metadata.namespace ?? "", annotations: pod.metadata.annotations ?? {} };
    const delegates = planDelegates({ settings: decodeSettings(config.raw), source, ifName, pod: about });
    if (pod === undefined || delegates.every(({ resourceName }) => resourceName === undefined)) return delegates;
    return assignDevices(delegates, devicesOf?.(uidOf(request.pod, pod)) ?? new Map(), request.containerId);
  }
  // An IPAM plugin gets the configuration of its caller. The caller must not be run again.
  const plugins = executable === ownIpam ? [] : [{ type: config.type, raw: config.raw }];
  if (plugins.some(({ type }) => chain.plugin(type) === undefined)) {
    throw new CniError(cniCodes.invalidConfig, `plugin type ${JSON.stringify(config.type)} is not one of ours`, {
      details: { executable },
    });
  }
  const { name, cniVersion } = config;
  const single = { disableCheck: false, disableGc: false, loadOnlyInlinedPlugins: true };
  return [{ displayName: name, network: { name, cniVersion, plugins, ...single }, ifName, master: true }];
}

/**
 * The networks of a Pod's ADD. One manifest may have Pod and SpiderMultusConfig: then the network is waited for, because
 * kubelet would try again only ten seconds later. Throws as {@link planNetworks} does.
 */
export async function awaitNetworks(
  request: CniRequest,
  pod: Pod,
  options: NetworksOptions,
  { signal }: Signal,
): Promise<readonly Delegate[]> {
  const { clock, nadsChanged } = options;
  const isMissing = (error: unknown) => hasCode(error, networkNotFound);
  try {
    return planNetworks(request, pod, options);
  } catch (error) {
    if (!isMissing(error) || !isYoung(pod, clock)) throw error;
  }
  const { promise, resolve, reject } = Promise.withResolvers<readonly Delegate[]>();
  const plan = (isLast: boolean) => {
    try {
      resolve(planNetworks(request, pod, options));
    } catch (error) {
      if (isLast || !isMissing(error)) reject(error);
    }
  };
  using waiting = new DisposableStack();
  waiting.defer(nadsChanged(() => plan(false)));
  waiting.defer(clock.after(networksMsMax, () => plan(true)));
  return await abortable(promise, signal);
}

/** The node's clock may differ from the API server's, in either direction. */
function isYoung({ metadata }: Pod, clock: Clock): boolean {
  return Math.abs(clock.wall().getTime() - Date.parse(metadata.creationTimestamp ?? "")) < youngMsMax;
}

/** Waits for the file of another network's daemon that must be ready first, if there is one. Throws CniError 11 naming it. */
export async function waitForOthers(request: CniRequest, o: NetworksOptions, { signal }: Signal): Promise<void> {
  const file = readinessFile(request);
  if (file === "") return;
  using limit = withTimeout(signal, readyMsMax, () => unready(cniCodes.tryAgain, file));
  while (o.source.file(file) === undefined) await o.clock.sleep(readyLookMs, { signal: limit });
}

/** Throws CniError 50 if another network's daemon is not ready. */
export function refuseUnready(request: CniRequest, { source }: NetworksOptions): void {
  const file = readinessFile(request);
  if (file !== "" && source.file(file) === undefined) throw unready(cniCodes.notAvailable, file);
}

function readinessFile(request: CniRequest): string {
  return isForAllNetworks(request) ? decodeSettings(request.config.raw).readinessIndicatorFile : "";
}

function unready(code: number, file: string): CniError {
  return new CniError(code, "the network that this one is beside is not ready", {
    code: "NETWORK_NOT_READY",
    details: { readinessindicatorfile: file, fix: "see whether its daemon runs on this node: it writes that file" },
  });
}
