import { isJsonObject, type JsonObject, type Steps } from "#base";
import { CniError, type CniRequest, type CniResult, cniCodes, encodeResult, type Network } from "#cni";
import type { Pod } from "#kube";
import { bootId, hostNetns, readNetnsId, sameNetns } from "#linux";
import { capabilityArgs, type Delegate, delegateArgs } from "#multus";
import { podOf } from "#plugins";
import { uidOf } from "../cluster/pods.ts";
import { type ChainCall, metaPlugin, ownIpam } from "./chain.ts";
import { foreignRunner, type Host } from "./foreign.ts";
import type { RecordedNetwork, RecordKey, SandboxRecord } from "./records.ts";

/** What came of a delegate's ADD. */
export interface AttachedDelegate {
  readonly delegate: Delegate;
  readonly result: CniResult;
  /** What its plugins or its device plugin told of its device. */
  readonly deviceInfo?: JsonObject | undefined;
}

/** A delegate, and how its plugins are called at ADD. */
export interface CalledDelegate {
  readonly delegate: Delegate;
  readonly call: ChainCall;
}

/** Whether a runtime calls for all networks of the Pod. Otherwise another meta-plugin calls one of our plugins. */
export function isForAllNetworks({ executable }: Pick<CniRequest, "executable">): boolean {
  return executable === metaPlugin;
}

/** The record of a call: its own for each of our executables but the meta-plugin's, which stands for all. */
export function recordKey(request: CniRequest): RecordKey {
  const { containerId, ifName, executable } = request;
  return { containerId, ifName, ...(!isForAllNetworks(request) && { plugin: executable }) };
}

/**
 * The namespace must be one, and not the host's: a plugin that worked there would take the node off the network. It stays open
 * for the whole call, so that whatever is bound to its path meanwhile, this one is meant. Throws CniError 8.
 */
export function checkNetns({ netns, netnsOverride, executable }: CniRequest, steps: Steps): SandboxRecord["netns"] {
  try {
    // Who only asks for addresses may have a namespace that is not seen from here.
    if (executable === ownIpam && readNetnsId(netns) === undefined) return { path: netns, device: "0", inode: "0" };
    const { id } = podOf({ netns }, steps);
    if (sameNetns(id, hostNetns().id) && !netnsOverride) throw ownNetns(netns);
    return { path: netns, device: String(id.device), inode: String(id.inode) };
  } catch (error) {
    throw CniError.from(error, cniCodes.invalidNetns);
  }
}

/**
 * The same for a DEL of which nothing is on record: an interface of the node's that has the name of a Pod's is none of ours.
 * What is no namespace any more is success, as always.
 */
export function refuseOwnNetns({ netns, netnsOverride }: CniRequest): void {
  if (netns !== "" && !netnsOverride && isOwnNetns(netns)) throw ownNetns(netns);
}

function isOwnNetns(netns: string): boolean {
  try {
    const id = readNetnsId(netns);
    return id !== undefined && sameNetns(id, hostNetns().id);
  } catch {
    return false;
  }
}

function ownNetns(netns: string): CniError {
  return new CniError(cniCodes.invalidNetns, "plugin's netns and netns from CNI_NETNS should not be the same", {
    details: { netns },
  });
}

/** What is known of a sandbox before its first side effect. */
export function newRecord(
  request: CniRequest,
  netns: SandboxRecord["netns"],
  pod: Pod,
  called: readonly CalledDelegate[],
): SandboxRecord {
  return {
    format: 1,
    ...recordKey(request),
    network: request.config.name,
    netns,
    bootId: bootId(),
    pod: { namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: uidOf(request.pod, pod) },
    networks: called.map(recordNetwork),
    ...(request.calledMs !== undefined && { calledMs: request.calledMs }),
    complete: false,
  };
}

/**
 * What is on record while an ADD is under way that is not the first of its sandbox. If the agent ends in the middle of it, what
 * runs is on record as before, with all that CHECK and the reconcilers know of it; what only one of the two ADDs was asked for
 * is there for DEL.
 */
export function recordMeanwhile(fresh: SandboxRecord, former: SandboxRecord | undefined): SandboxRecord {
  if (former === undefined) return fresh;
  const { device, inode } = fresh.netns;
  const isSame = former.bootId === fresh.bootId && former.netns.device === device && former.netns.inode === inode;
  const runs = former.complete && isSame;
  const [first, other] = runs ? [former, fresh] : [fresh, former];
  const isOnlyThere = ({ ifName }: RecordedNetwork) => !first.networks.some((one) => one.ifName === ifName);
  return { ...first, networks: [...first.networks, ...other.networks.filter(isOnlyThere)] };
}

/** A delegate with all that its DEL will need. */
export function recordNetwork({ delegate, call }: CalledDelegate): RecordedNetwork {
  const { network, displayName, ifName } = delegate;
  return {
    name: displayName,
    ifName,
    networkName: network.name,
    cniVersion: network.cniVersion,
    plugins: network.plugins.map(({ raw }) => raw),
    cniArgs: [...call.attachment.args],
    capabilityArgs: call.capabilityArgs,
    ...(network.disableCheck && { disableCheck: true }),
  };
}

/** The network of a record, as its plugins are called. */
export function recordedNetwork({ networkName, cniVersion, plugins, disableCheck }: RecordedNetwork): Network {
  return {
    name: networkName,
    cniVersion,
    plugins: plugins.map((raw) => ({ type: String(raw["type"]), raw })),
    disableCheck: disableCheck === true,
    disableGc: false,
    loadOnlyInlinedPlugins: true,
  };
}

/** The record with what each network answered, and when. */
export function completed(record: SandboxRecord, attached: readonly AttachedDelegate[], nowMs: number): SandboxRecord {
  const networks = record.networks.map((network, at) => {
    const result = attached[at]?.result;
    return result === undefined ? network : { ...network, result: encodeResult(result, network.cniVersion) };
  });
  return { ...record, networks, complete: true, answeredAtMs: Math.floor(nowMs) };
}

/** How a delegate's plugins are called at ADD. */
export function calledDelegate(request: CniRequest, delegate: Delegate, host: Host): CalledDelegate {
  return { delegate, call: chainCall(request, delegate, host) };
}

function chainCall(request: CniRequest, delegate: Delegate, host: Host): ChainCall {
  const { ifName, position, displayName } = delegate;
  const args = delegateArgs(delegate, request);
  const call = callOf(request, ifName, args, capabilityArgs(delegate, runtimeConfigOf(request)), host);
  if (position === undefined) return call;
  // The name of a configuration has no slash.
  const place = { position, nad: displayName.includes("/") ? displayName : undefined };
  return { ...call, attachment: { ...call.attachment, place } };
}

/** How a recorded network's plugins are called later, by what ADD noted. */
export function recordedCall(request: CniRequest, network: RecordedNetwork, host: Host): ChainCall {
  return callOf(request, network.ifName, new Map(network.cniArgs), network.capabilityArgs, host);
}

function callOf(
  { containerId, netns, pod }: CniRequest,
  ifName: string,
  args: ReadonlyMap<string, string>,
  offered: JsonObject,
  host: Host,
): ChainCall {
  const attachment = { containerId, netns, pod, ifName, args };
  return { attachment: { ...attachment, run: foreignRunner(attachment, host) }, capabilityArgs: offered };
}

function runtimeConfigOf({ config }: CniRequest): JsonObject {
  const found = config.raw["runtimeConfig"];
  return isJsonObject(found) ? found : {};
}
