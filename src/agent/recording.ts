import { type CniRequest, encodeResult, isJsonObject, type JsonObject, type Network } from "#cni";
import type { Pod } from "#kube";
import { bootId } from "#linux";
import { capabilityArgs, type Delegate, delegateArgs } from "#multus";
import type { AttachedDelegate } from "./calls.ts";
import type { ChainCall } from "./chain.ts";
import { uidOf } from "./pods.ts";
import type { RecordedNetwork, SandboxRecord } from "./records.ts";
import type { CallContext } from "./server.ts";

/** What is known of a sandbox before its first side effect. */
export function newRecord(
  request: CniRequest,
  netns: SandboxRecord["netns"],
  pod: Pod,
  delegates: readonly Delegate[],
): SandboxRecord {
  return {
    format: 1,
    containerId: request.containerId,
    ifName: request.ifName,
    network: request.config.name,
    netns,
    bootId: bootId(),
    pod: { namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: uidOf(request.pod, pod) },
    networks: delegates.map((delegate) => recordNetwork(delegate, request)),
    complete: false,
  };
}

/** A delegate with all that its DEL will need. */
export function recordNetwork(delegate: Delegate, request: CniRequest): RecordedNetwork {
  const { network, displayName, ifName } = delegate;
  return {
    name: displayName,
    ifName,
    networkName: network.name,
    cniVersion: network.cniVersion,
    plugins: network.plugins.map(({ raw }) => raw),
    cniArgs: [...delegateArgs(delegate, request)],
    capabilityArgs: capabilityArgs(delegate, runtimeConfigOf(request)),
  };
}

/** The network of a record, as its plugins are called. */
export function recordedNetwork({ networkName, cniVersion, plugins }: RecordedNetwork): Network {
  return {
    name: networkName,
    cniVersion,
    plugins: plugins.map((raw) => ({ type: String(raw["type"]), raw })),
    disableCheck: false,
    disableGc: false,
    loadOnlyInlinedPlugins: true,
  };
}

/** The record with what each network answered. */
export function completed(record: SandboxRecord, attached: readonly AttachedDelegate[]): SandboxRecord {
  const networks = record.networks.map((network, at) => {
    const result = attached[at]?.result;
    return result === undefined ? network : { ...network, result: encodeResult(result, network.cniVersion) };
  });
  return { ...record, networks, complete: true };
}

/** How a delegate's plugins are called at ADD. */
export function chainCall(request: CniRequest, delegate: Delegate, { exec }: CallContext): ChainCall {
  const { containerId, netns, pod, path } = request;
  const attachment = { containerId, netns, pod, ifName: delegate.ifName, args: delegateArgs(delegate, request) };
  return { attachment, path, exec, capabilityArgs: capabilityArgs(delegate, runtimeConfigOf(request)) };
}

/** How a recorded network's plugins are called later, by what ADD noted. */
export function recordedCall(request: CniRequest, network: RecordedNetwork, { exec }: CallContext): ChainCall {
  const { containerId, netns, pod, path } = request;
  const attachment = { containerId, netns, pod, ifName: network.ifName, args: new Map(network.cniArgs) };
  return { attachment, path, exec, capabilityArgs: network.capabilityArgs };
}

function runtimeConfigOf({ config }: CniRequest): JsonObject {
  const found = config.raw["runtimeConfig"];
  return isJsonObject(found) ? found : {};
}
