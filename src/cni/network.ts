import { isJsonObject, type JsonObject } from "#base";
import { CniError, cniCodes } from "./errors.ts";
import { kindOf, objectOf, parseJsonObject } from "./json.ts";
import { pluginsMax } from "./limits.ts";
import { encodeResult } from "./result.ts";
import type { CniResult } from "./types.ts";
import { checkNetworkName } from "./validate.ts";
import { impliedVersion, resultVersions } from "./versions.ts";

/** One entry of a network's `plugins`: `type` and the plugin's own keys. */
export interface NetworkPlugin {
  readonly type: string;
  readonly raw: JsonObject;
}

/** A network configuration: a list, or a single plugin that was made into a list of one. */
export interface Network {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly NetworkPlugin[];
  readonly disableCheck: boolean;
  readonly disableGc: boolean;
  /** If false, plugin files in a folder beside the list belong to it, too; `plugins` may be empty until they are added. */
  readonly loadOnlyInlinedPlugins: boolean;
}

/** Values for missing keys. */
interface NetworkDefaults {
  readonly name?: string;
  /** @default "0.1.0", as the specification has it */
  readonly version?: string;
}

/**
 * Decodes a network configuration, from text or an object. An object with a top-level `type` is a single plugin. Throws
 * CniError 6 if the text is not JSON, and CniError 7 with the field for any other mistake.
 */
export function decodeNetwork(source: string | JsonObject, options: NetworkDefaults = {}): Network {
  const object = typeof source === "string" ? parseJsonObject(source, "network configuration") : source;
  const name = checkNetworkName(object["name"] || options.name);
  const single = object["type"] !== undefined;
  const network = {
    name,
    cniVersion: versionOf(object, options.version ?? impliedVersion),
    plugins: single ? [decodePlugin(object, name, "")] : decodePlugins(object, name),
    disableCheck: flag(object, "disableCheck", name, false),
    disableGc: flag(object, "disableGC", name, false),
    loadOnlyInlinedPlugins: single || flag(object, "loadOnlyInlinedPlugins", name, true),
  };
  if (network.plugins.length === 0 && network.loadOnlyInlinedPlugins) {
    invalid(name, "plugins", "at least one plugin", "none");
  }
  return network;
}

/** Adds the plugins of further files at the end (`loadOnlyInlinedPlugins: false`). Throws CniError 6 or 7. */
export function appendPlugins(network: Network, texts: readonly string[]): Network {
  const more = texts.map((text) => decodePlugin(parseJsonObject(text, "plugin configuration"), network.name, ""));
  const plugins = [...network.plugins, ...more];
  if (plugins.length === 0) invalid(network.name, "plugins", "at least one plugin, inlined or in a file", "none");
  if (plugins.length > pluginsMax) invalid(network.name, "plugins", `at most ${pluginsMax}`, plugins.length);
  return { ...network, plugins };
}

/** What a runtime adds to a plugin's own keys for one call. */
export interface PluginCall {
  /** At ADD the previous plugin's result; at CHECK and DEL the final result of the ADD. */
  readonly prevResult?: CniResult | undefined;
  /** Values by capability. A plugin receives only those that it declares. */
  readonly capabilityArgs?: JsonObject;
  /** `cni.dev/valid-attachments` at GC. */
  readonly validAttachments?: readonly ValidAttachment[];
}

/**
 * The object that a plugin of `network` receives on stdin: its own keys, the network's name and version, and the parts of
 * `call` that concern it. As in libcni, `capabilities` is kept and an empty `runtimeConfig` is left out.
 */
export function pluginInput(network: Network, plugin: NetworkPlugin, call: PluginCall = {}): JsonObject {
  const { prevResult: _previous, runtimeConfig: _former, ...own } = plugin.raw;
  const input: Record<string, unknown> = own;
  input["name"] = network.name;
  input["cniVersion"] = network.cniVersion;
  const runtimeConfig = wanted(plugin.raw["capabilities"], call.capabilityArgs);
  if (runtimeConfig !== undefined) input["runtimeConfig"] = runtimeConfig;
  if (call.prevResult !== undefined) input["prevResult"] = encodeResult(call.prevResult, network.cniVersion);
  const valid = call.validAttachments?.map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }));
  if (valid !== undefined) {
    input["cni.dev/valid-attachments"] = valid;
    input["cni.dev/attachments"] = valid;
  }
  return input;
}

/** The values of the capabilities that are declared; undefined if there are none. */
function wanted(capabilities: unknown, args: JsonObject = {}): JsonObject | undefined {
  if (!isJsonObject(capabilities)) return undefined;
  const found = Object.entries(args).filter(([key, value]) => value !== undefined && capabilities[key] === true);
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** An attachment that the runtime still knows. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifName: string;
}

/**
 * The attachments that a GC must spare. If the list is absent, everything of this network is stale. Throws CniError 7 for a
 * malformed list: a wrong guess would remove the network of running Pods.
 */
export function validAttachments(config: JsonObject): readonly ValidAttachment[] {
  const key = config["cni.dev/valid-attachments"] === undefined ? "cni.dev/attachments" : "cni.dev/valid-attachments";
  const found = config[key] ?? [];
  if (!Array.isArray(found)) invalid(config["name"], key, "an array", kindOf(found));
  return found.map((one: unknown, at) => {
    const { containerID, ifname } = objectOf(one, `${key}[${at}]`);
    if (typeof containerID !== "string" || typeof ifname !== "string") {
      invalid(config["name"], `${key}[${at}]`, "containerID and ifname", JSON.stringify(one));
    }
    return { containerId: containerID, ifName: ifname };
  });
}

/** The highest known version among `cniVersion` and `cniVersions`. Throws CniError 1 if none is known: no result could be read. */
function versionOf(object: JsonObject, otherwise: string): string {
  const stated = object["cniVersion"] || otherwise;
  if (typeof stated !== "string") invalid(object["name"], "cniVersion", "a string", kindOf(stated));
  const offered = object["cniVersions"] ?? [];
  if (!Array.isArray(offered)) invalid(object["name"], "cniVersions", "an array of strings", kindOf(offered));
  const found = resultVersions.findLast((known) => known === stated || offered.includes(known));
  if (found !== undefined) return found;
  throw new CniError(cniCodes.incompatibleVersion, "the cniVersion of the network configuration is not known", {
    details: { field: "cniVersion", found: stated, allowed: resultVersions },
  });
}

function decodePlugins(object: JsonObject, name: string): readonly NetworkPlugin[] {
  const plugins = object["plugins"] ?? [];
  if (!Array.isArray(plugins)) invalid(name, "plugins", "an array", kindOf(plugins));
  if (plugins.length > pluginsMax) invalid(name, "plugins", `at most ${pluginsMax}`, plugins.length);
  return plugins.map((one: unknown, at) => {
    if (!isJsonObject(one)) invalid(name, `plugins[${at}]`, "an object", kindOf(one));
    return decodePlugin(one, name, `plugins[${at}].`);
  });
}

function decodePlugin(raw: JsonObject, name: string, at: string): NetworkPlugin {
  const type = raw["type"];
  if (typeof type !== "string" || type === "") invalid(name, `${at}type`, "the file name of a plugin", kindOf(type));
  if (type.includes("/") || type === "." || type === "..") {
    invalid(name, `${at}type`, "a file name without path separators", type);
  }
  return { type, raw };
}

/** Like libcni, takes the texts "true" and "false", too. */
function flag(object: JsonObject, key: string, name: string, otherwise: boolean): boolean {
  const value = object[key] ?? otherwise;
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  return invalid(name, key, "true or false", JSON.stringify(value));
}

function invalid(network: unknown, field: string, allowed: string, found: unknown): never {
  throw new CniError(cniCodes.invalidConfig, "invalid network configuration", {
    details: { network, field, found, allowed },
  });
}
