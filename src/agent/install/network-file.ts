import { readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { codeOf } from "#base";
import { readRegularFile } from "./files.ts";

/** Sorts before what other networks call theirs: a runtime takes the first file by name. */
export const networkFile = "00-multus.conf";
const networkName = "multus-cni-network";
/** Where runtimes look for configurations by these ends of a name. */
const configurationName = /\.(conf|conflist|json)$/;
const isMetaPlugin = (type: string) => type === "multus" || type === "multus-shim";

/** The configuration that the node's runtime used before ours, or would use without it. */
interface FormerNetwork {
  readonly path: string;
  readonly name: string;
}

/** What a folder of configurations holds beside ours. */
export interface Former {
  /** The first that can be used, by file name. */
  readonly network: FormerNetwork | undefined;
  /** Files that come before it, or all where there is none, each with why it was passed over. */
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

/** Files that a runtime reads before ours and would use instead. */
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

/** Name and first plugin of a configuration, or why it is none that Pods could have. */
function readConfiguration(file: string, text: string): { readonly name: string } | string {
  const config = parseObject(text);
  if (config === undefined) return "is not a JSON object";
  const { name } = config;
  if (typeof name !== "string" || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) return "has no usable `name`";
  const plugins = file.endsWith(".conflist") ? config["plugins"] : [config];
  if (!Array.isArray(plugins) || plugins.length === 0) return "has no `plugins`";
  const types = plugins.map((plugin: unknown) =>
    typeof plugin === "object" && plugin !== null && "type" in plugin ? plugin.type : undefined,
  );
  if (!types.every((type) => typeof type === "string" && type !== "")) return "has a plugin without `type`";
  return types.some((type) => isMetaPlugin(String(type))) ? "calls a meta-plugin" : { name };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

export interface NetworkFileOptions {
  /** As the runtime's host has it; the agent has the same folder at the same path. */
  readonly confDir: string;
  /** `name` or `namespace/name` of the cluster's default network; "": the node's former one is. */
  readonly clusterNetwork: string;
  /** The install namespace: where cluster-wide networks are looked up that name no other. */
  readonly namespace: string;
}

/**
 * What the runtime is told to call, as the text of {@link networkFile}. Undefined where there is no default network at all,
 * neither configured nor on the node: a file that can only fail would be worse than none.
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
    // Holds while the definition of the default network is empty.
    ...(former !== undefined && { fallbackNetwork: former.path }),
    multusNamespace: slash > 0 ? clusterNetwork.slice(0, slash) : namespace,
    capabilities: { portMappings: true, bandwidth: true },
  };
  return `${JSON.stringify(conf, undefined, 2)}\n`;
}

/** Who seems to have changed or removed our file, in words for the administrator. `left`: its content now, if any. */
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
    return `another Multus writes the same file (kubeconfig ${String(config["kubeconfig"])}); remove that Multus`;
  return `a configuration of type ${JSON.stringify(type)}, named ${JSON.stringify(config["name"])}, lies there`;
}

function readdirIfThere(folder: string): readonly string[] {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(folder) : [];
}
