import { readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { codeOf, isJsonObject, type JsonObject } from "#base";
import { readRegularFile } from "./files.ts";

/** Sorts before the names of other networks' files: a runtime uses the first file by name. */
export const networkFile = "00-multus.conf";
const networkName = "multus-cni-network";
/** Extensions by which runtimes recognise configurations. */
const configurationName = /\.(conf|conflist|json)$/;
const isMetaPlugin = (type: string) => type === "multus" || type === "multus-shim";

/** The configuration that the node's runtime would use without ours. */
interface FormerNetwork {
  readonly path: string;
  readonly name: string;
}

/** The other files in a folder of configurations. */
interface Former {
  /** The first usable configuration, by file name. */
  readonly network: FormerNetwork | undefined;
  /** Files before it, or all if there is none, each with the reason why it was skipped. */
  readonly passedOver: readonly string[];
}

/**
 * Finds the node's former network: of `.conf`, `.conflist` and `.json` the first by name that is a configuration. Never our
 * own file, nor any that calls a meta-plugin: that would lead back to us. Symbolic links are followed, as runtimes do.
 */
export function findFormer(confDir: string): Former {
  const passedOver: string[] = [];
  for (const file of configurationFiles(confDir)) {
    if (file === networkFile) continue;
    const path = join(confDir, file);
    const text = readRegularFile(path)?.toString("utf8");
    const found = text === undefined ? "is not a file" : readConfiguration(file, text);
    if (typeof found !== "string") return { network: { path, name: found.name }, passedOver };
    passedOver.push(`${path} ${found}`);
  }
  return { network: undefined, passedOver };
}

/** Files that a runtime would use instead of ours, because they sort before it. */
export function filesBefore(confDir: string): readonly string[] {
  return configurationFiles(confDir)
    .filter((file) => file < networkFile)
    .map((file) => join(confDir, file))
    .filter(
      (path) => typeof readConfiguration(basename(path), readRegularFile(path)?.toString("utf8") ?? "") !== "string",
    );
}

function configurationFiles(confDir: string): readonly string[] {
  try {
    return readdirSync(confDir)
      .filter((file) => configurationName.test(file))
      .sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Name and first plugin of a configuration, or why Pods could not use it. */
function readConfiguration(file: string, text: string): { readonly name: string } | string {
  const config = parseObject(text);
  if (config === undefined) return "is not a JSON object";
  const { name } = config;
  if (typeof name !== "string" || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) return "has no usable `name`";
  const plugins = file.endsWith(".conflist") ? config["plugins"] : [config];
  if (!Array.isArray(plugins) || plugins.length === 0) return "has no `plugins`";
  const types = plugins.map((plugin: unknown) => (isJsonObject(plugin) ? plugin["type"] : undefined));
  if (!types.every((type) => typeof type === "string" && type !== "")) return "has a plugin without `type`";
  return types.some((type) => isMetaPlugin(String(type))) ? "calls a meta-plugin" : { name };
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The runtime's configuration directory and the network that Pods get by default. */
export interface NetworkFileOptions {
  /** The folder's path on the host, which is the same for the agent. */
  readonly confDir: string;
  /** `name` or `namespace/name` of the cluster's default network; "": the node's former network is the default. */
  readonly clusterNetwork: string;
  /** The install namespace, for cluster-wide networks that name no other. */
  readonly namespace: string;
}

/**
 * The text of {@link networkFile}, the configuration that the runtime uses. Undefined if there is no default network, neither
 * configured nor on the node: a file that can only fail would be worse than none.
 */
export function networkFileText(options: NetworkFileOptions, former: FormerNetwork | undefined): string | undefined {
  const { confDir, clusterNetwork, namespace } = options;
  const slash = clusterNetwork.indexOf("/");
  const network = clusterNetwork.slice(slash + 1) || former?.name;
  if (network === undefined) return undefined;
  const conf = {
    cniVersion: "1.0.0",
    name: networkName,
    type: "multus",
    confDir,
    clusterNetwork: network,
    // Used while the definition of the default network is empty.
    ...(former !== undefined && { fallbackNetwork: former.path }),
    multusNamespace: slash > 0 ? clusterNetwork.slice(0, slash) : namespace,
    capabilities: { portMappings: true, bandwidth: true },
  };
  return `${JSON.stringify(conf, undefined, 2)}\n`;
}

/** Who seems to have changed or removed our file, in words for the administrator. `left`: its present content, if any. */
export function describeIntruder(confDir: string, left: string | undefined): string {
  const siblings = readdirIfThere(confDir).filter((file) => file.startsWith(`${networkFile}.`));
  if (left === undefined) {
    if (siblings.includes(`${networkFile}.cilium_bak`))
      return "it was renamed by Cilium; set `cni.exclusive=false` in Cilium's Helm values";
    return siblings.length > 0 ? `it was renamed to ${siblings.join(", ")}` : "it was removed";
  }
  const config = parseObject(left);
  if (config === undefined) return "what lies there is not a JSON object";
  const type = String(config["type"]);
  if (type === "multus-shim")
    return "a Multus daemon writes the same file; remove that Multus (its DaemonSet is usually kube-system/kube-multus-ds)";
  if (type === "multus" && config["kubeconfig"] !== undefined)
    return `another Multus wrote it (kubeconfig ${String(config["kubeconfig"])}); remove that Multus if it still runs`;
  return `a configuration of type ${JSON.stringify(type)}, named ${JSON.stringify(config["name"])}, lies there`;
}

function readdirIfThere(folder: string): readonly string[] {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(folder) : [];
}
