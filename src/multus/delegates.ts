import { annotations as ours } from "#api";
import { CniError, cniCodes, decodeNetwork, isJsonObject, type JsonObject, type Network } from "#cni";
import { deviceInfoFile } from "./device-info.ts";
import { auxiliaryChain, type Resolved, resolveReference, resolveSelection } from "./resolve.ts";
import { defaultNetworkAnnotation, networksAnnotation, parseDefaultNetwork, parseNetworks } from "./selection.ts";
import type { MultusSettings } from "./settings.ts";
import type { ConfigSource, Delegate, NetworkSelection } from "./types.ts";

/** For whom delegates are planned. */
interface PlanInput {
  readonly settings: MultusSettings;
  readonly source: ConfigSource;
  /** The interface that the runtime asked for: the master's, unless the annotation names another. */
  readonly ifName: string;
  /** Absent if no Pod is behind the call: cluster-wide networks only. */
  readonly pod?: { readonly namespace: string; readonly annotations?: Readonly<Record<string, string>> } | undefined;
}

type Found = Resolved & { readonly selection?: NetworkSelection };

/**
 * The networks of a Pod, in the order of their ADD: the default network, `defaultNetworks`, then the annotation's, and
 * last the auxiliary chain. A delegate's interface is the one asked for, else `ifName` for the first and `net<position>` for each
 * other. Throws CniError 7 for the first reference that can't be resolved, an interface used twice, forbidden namespaces, and an
 * annotation that leaves the default route to an interface which none of several networks has.
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
    ifName: one.selection?.interface ?? (position === 0 ? ifName : `net${position}`),
  }));
  checkInterfaces(delegates);
  checkDefaultRouteNic(delegates, annotations[ours.defaultRouteNic]);
  return delegates;
}

/** The default network, which an annotation may replace, and whatever else is configured inline. */
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

/** With one network there is nothing to choose: a template's annotation does no harm there. */
function checkDefaultRouteNic(delegates: readonly Delegate[], wanted = ""): void {
  const allowed = delegates.map(({ ifName }) => ifName);
  if (wanted === "" || delegates.length < 2 || allowed.includes(wanted)) return;
  throw new CniError(cniCodes.invalidConfig, `invalid annotation ${ours.defaultRouteNic}`, {
    code: "NETWORK_ANNOTATION",
    details: { found: wanted, allowed: `an interface of the Pod's networks: ${allowed.join(", ")}` },
  });
}

/** `args.cni` of every plugin, with the keys of the annotation's `cni-args` over its own. */
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
 * Gives each delegate that wants a device the next one of its resource; `devices` are those allocated to the Pod, by
 * resource. IDs are taken in sorted order. A delegate for which none is left goes without. All but the master get a file
 * for what is known of their device.
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
