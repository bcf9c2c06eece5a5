import { annotations as ours } from "#api";
import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes, decodeNetwork, type Network } from "#cni";
import { deviceInfoFile } from "./device-info.ts";
import { auxiliaryChain, type Resolved, resolveReference, resolveSelection } from "./resolve.ts";
import {
  defaultNetworkAnnotation,
  networksAnnotation,
  nicNameOf,
  parseDefaultNetwork,
  parseNetworks,
} from "./selection.ts";
import type { MultusSettings } from "./settings.ts";
import type { ConfigSource, Delegate, NetworkSelection } from "./types.ts";

/** What the delegates of a Pod follow from. */
interface PlanInput {
  readonly settings: MultusSettings;
  readonly source: ConfigSource;
  /** The interface that the runtime asked for. The first delegate gets it, unless the annotation names another. */
  readonly ifName: string;
  /** Absent if the call is not for a Pod; then only cluster-wide networks are attached. */
  readonly pod?: { readonly namespace: string; readonly annotations?: Readonly<Record<string, string>> } | undefined;
}

type Found = Resolved & { readonly selection?: NetworkSelection };

/**
 * The networks of a Pod in the order of their ADD: the default network, `defaultNetworks`, the annotation's networks, and the
 * auxiliary chain. A delegate's interface is the one in its selection; otherwise the first gets `ifName` and each other one
 * `net<position>`. Throws CniError 7 for the first reference that cannot be resolved, for an interface name that is used twice,
 * for a namespace that the Pod may not use, and if the annotation for the default route names an interface that no network has.
 */
export function planDelegates({ settings, source, ifName, pod }: PlanInput): readonly Delegate[] {
  const annotations = pod?.annotations ?? {};
  const found: readonly Found[] = [
    ...clusterDelegates(annotations[defaultNetworkAnnotation], settings, source),
    ...(pod !== undefined && settings.systemNamespaces.includes(pod.namespace) ? [] : settings.defaultNetworks).map(
      (reference) => resolveReference(reference, settings, source),
    ),
    ...parseNetworks(annotations[networksAnnotation] ?? "", pod?.namespace ?? "").map((selection) => {
      checkIsolation(selection, pod?.namespace ?? "", settings);
      return { ...resolveSelection(selection, settings, source), selection };
    }),
    ...[auxiliaryChain(settings, source)].filter((chain) => chain !== undefined),
  ];
  const delegates = found.map((one, position) => ({
    ...one,
    network: mergeCniArgs(one.network, one.selection?.cniArgs),
    master: position === 0,
    position,
    ifName: position === 0 ? (one.selection?.interface ?? ifName) : nicNameOf(one.selection ?? {}, position),
  }));
  checkInterfaces(delegates);
  checkDefaultRouteNic(delegates, annotations[ours.defaultRouteNic]);
  return delegates;
}

/** The default network, which an annotation may replace, and the other networks that the configuration has inline. */
function clusterDelegates(
  annotation: string | undefined,
  settings: MultusSettings,
  source: ConfigSource,
): readonly Found[] {
  const { clusterNetwork, cniVersion, delegates } = settings;
  const inline = (config: JsonObject): Found => {
    const network = decodeNetwork(config, { version: cniVersion });
    return { displayName: network.name, network };
  };
  const more = clusterNetwork === "" ? delegates.slice(1) : [];
  if (annotation !== undefined && annotation.trim() !== "") {
    const selection = parseDefaultNetwork(annotation, settings.multusNamespace);
    return [{ ...resolveSelection(selection, settings, source), selection }, ...more.map(inline)];
  }
  if (clusterNetwork !== "") return [resolveReference(clusterNetwork, settings, source)];
  return delegates.map(inline);
}

function checkIsolation({ namespace, name }: NetworkSelection, podNamespace: string, settings: MultusSettings): void {
  if (!settings.namespaceIsolation || namespace === podNamespace || settings.globalNamespaces.includes(namespace))
    return;
  throw new CniError(cniCodes.invalidConfig, "namespace isolation enabled, annotation violates permission", {
    code: "NETWORK_FORBIDDEN",
    details: {
      network: `${namespace}/${name}`,
      pod: podNamespace,
      allowed: [podNamespace, ...settings.globalNamespaces],
    },
  });
}

function checkInterfaces(delegates: readonly Delegate[]): void {
  const owners = new Map<string, string>();
  for (const { ifName, displayName } of delegates) {
    const other = owners.get(ifName);
    if (other !== undefined) {
      throw new CniError(cniCodes.invalidConfig, "two networks of the Pod have the same interface name", {
        code: "INTERFACE_TAKEN",
        details: {
          interface: ifName,
          networks: [other, displayName],
          fix: `give them different interfaces in annotation ${networksAnnotation}, or leave the names out: they are net1, net2, … by their places`,
        },
      });
    }
    owners.set(ifName, displayName);
  }
}

/** A Pod with one network may have the annotation, too: it may come from a template, and there is nothing to choose. */
function checkDefaultRouteNic(delegates: readonly Delegate[], wanted = ""): void {
  const allowed = delegates.map(({ ifName }) => ifName);
  if (wanted === "" || delegates.length < 2 || allowed.includes(wanted)) return;
  throw new CniError(cniCodes.invalidConfig, `invalid annotation ${ours.defaultRouteNic}`, {
    code: "NETWORK_ANNOTATION",
    details: { found: wanted, allowed: `an interface of the Pod's networks: ${allowed.join(", ")}` },
  });
}

/** Adds the annotation's `cni-args` to `args.cni` of every plugin. The annotation wins over the plugin's own keys. */
function mergeCniArgs(network: Network, cniArgs: JsonObject | undefined): Network {
  return cniArgs === undefined
    ? network
    : eachPlugin(network, (raw) => {
        const args = isJsonObject(raw["args"]) ? raw["args"] : {};
        const cni = isJsonObject(args["cni"]) ? args["cni"] : {};
        return { ...raw, args: { ...args, cni: { ...cni, ...cniArgs } } };
      });
}

function eachPlugin(network: Network, change: (raw: JsonObject) => JsonObject): Network {
  return { ...network, plugins: network.plugins.map(({ type, raw }) => ({ type, raw: change(raw) })) };
}

/**
 * Gives each delegate that wants a device the next one of its resource, in the order of their IDs. `devices` are the IDs of
 * the Pod's devices by resource. A delegate for which none is left gets none. Every delegate with a device, but for the
 * master, gets a device-info file.
 */
export function assignDevices(
  delegates: readonly Delegate[],
  devices: ReadonlyMap<string, readonly string[]>,
  containerId: string,
): readonly Delegate[] {
  const left = new Map(Array.from(devices, ([resource, ids]) => [resource, ids.toSorted()]));
  return delegates.map((delegate) => {
    const deviceId = delegate.resourceName === undefined ? undefined : left.get(delegate.resourceName)?.shift();
    if (deviceId === undefined) return delegate;
    const network = eachPlugin(delegate.network, (raw) => ({ ...raw, deviceID: deviceId, pciBusID: deviceId }));
    const { master, displayName, ifName } = delegate;
    const file = master ? {} : { deviceInfoFile: deviceInfoFile(displayName, containerId, ifName) };
    return { ...delegate, network, deviceId, ...file };
  });
}
