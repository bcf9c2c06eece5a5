import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes } from "#cni";

/** The keys of a `multus` configuration that decide which networks a Pod gets. */
export interface MultusSettings {
  /** For delegates that name no version. */
  readonly cniVersion: string;
  /** Reference to the default network: the name of a NAD or of a configuration, or a path. If "", `delegates` are used. */
  readonly clusterNetwork: string;
  /** Path of the configuration that is used while the NAD of `clusterNetwork` exists but is empty. "" for none. */
  readonly fallbackNetwork: string;
  /** Inline configurations, used if `clusterNetwork` is empty. The first is the default network; all are attached. */
  readonly delegates: readonly JsonObject[];
  /** References to further networks that every Pod outside `systemNamespaces` gets. */
  readonly defaultNetworks: readonly string[];
  /** Where NADs of cluster-wide references are. */
  readonly multusNamespace: string;
  readonly systemNamespaces: readonly string[];
  /** Pods may reference only NADs of their own namespace and of `globalNamespaces`. */
  readonly namespaceIsolation: boolean;
  readonly globalNamespaces: readonly string[];
  /** Where configuration files are searched by name. */
  readonly confDir: string;
  /** Path of a file that another network's daemon writes when it is ready. Nothing is attached before. "" for none. */
  readonly readinessIndicatorFile: string;
  /** Name of another list of plugins: the files in the directory of this name beside `clusterNetwork`. "" for none. */
  readonly auxiliaryChainName: string;
}

/** Reads the settings from a plugin configuration. Throws CniError 7 with the key, what was found and what is allowed. */
export function decodeSettings(config: JsonObject): MultusSettings {
  const settings = {
    cniVersion: text(config, "cniVersion", "0.3.1"),
    clusterNetwork: text(config, "clusterNetwork", ""),
    fallbackNetwork: text(config, "fallbackNetwork", ""),
    delegates: list(config, "delegates", isJsonObject, []),
    defaultNetworks: list(config, "defaultNetworks", isText, []),
    multusNamespace: text(config, "multusNamespace", "kube-system"),
    systemNamespaces: list(config, "systemNamespaces", isText, ["kube-system"]),
    namespaceIsolation: flag(config, "namespaceIsolation"),
    globalNamespaces: text(config, "globalNamespaces", "default")
      .split(",")
      .map((one) => one.trim()),
    confDir: text(config, "confDir", "/etc/cni/multus/net.d"),
    readinessIndicatorFile: text(config, "readinessindicatorfile", ""),
    auxiliaryChainName: text(config, "auxiliaryCNIChainName", ""),
  };
  if (settings.clusterNetwork === "" && settings.delegates.length === 0) {
    throw new CniError(cniCodes.invalidConfig, "at least one delegate/clusterNetwork must be specified");
  }
  return settings;
}

const isText = (value: unknown): value is string => typeof value === "string";

function text(config: JsonObject, key: string, otherwise: string): string {
  const value = config[key] ?? "";
  return isText(value) ? value || otherwise : invalid(key, value, "a string");
}

function flag(config: JsonObject, key: string): boolean {
  const value = config[key] ?? false;
  return typeof value === "boolean" ? value : invalid(key, value, "true or false");
}

function list<T>(
  config: JsonObject,
  key: string,
  is: (value: unknown) => value is T,
  otherwise: readonly T[],
): readonly T[] {
  const value = config[key] ?? otherwise;
  return Array.isArray(value) && value.every(is) ? value : invalid(key, value, "a list");
}

function invalid(field: string, found: unknown, allowed: string): never {
  throw new CniError(cniCodes.invalidConfig, "invalid multus configuration", { details: { field, found, allowed } });
}
