import { adviceMark, appendPlugins, CniError, cniCodes, decodeNetwork, type Network, parseJsonObject } from "#cni";
import { defaultNetworkAnnotation, networksAnnotation } from "./selection.ts";
import type { MultusSettings } from "./settings.ts";
import type { ConfigSource, Nad } from "./types.ts";

/** Annotation of a NAD: the device plugin resource that each NIC of the network needs a device of. */
const resourceAnnotation = "k8s.v1.cni.cncf.io/resourceName";

/** The network that a reference leads to. */
export interface Resolved {
  readonly displayName: string;
  readonly network: Network;
  readonly resourceName?: string;
}

/**
 * Resolves `clusterNetwork` or an entry of `defaultNetworks`. Without a `/` it names a NAD of `multusNamespace`; if that is
 * absent or invalid, a configuration in `confDir`. With a `/` it is a path, never `namespace/name`. Throws CniError 7.
 */
export function resolveReference(reference: string, settings: MultusSettings, source: ConfigSource): Resolved {
  if (reference.includes("/")) return fromPath(reference, settings, source);
  const { multusNamespace } = settings;
  const nad = source.nad(multusNamespace, reference);
  let cause: unknown;
  try {
    if (nad !== undefined) return resolveNad(nad, settings, source);
  } catch (error) {
    cause = error;
  }
  const network = searchByName(reference, settings, source);
  if (network !== undefined) return { displayName: network.name, network };
  if (nad !== undefined && isEmpty(nad) && settings.fallbackNetwork !== "") {
    return fromPath(settings.fallbackNetwork, settings, source);
  }
  throw new CniError(
    cniCodes.invalidConfig,
    `failed to get clusterNetwork ${reference} in namespace ${multusNamespace}`,
    cause === undefined
      ? { code: networkNotFound, details: { searched: settings.confDir, fix: remedy(reference, multusNamespace) } }
      : { cause },
  );
}

function remedy(name: string, namespace: string): string {
  return `create a SpiderMultusConfig ${name} in namespace ${namespace}, or name another network in the Pod's annotation ${defaultNetworkAnnotation}`;
}

/** Resolves a network that a Pod's annotation names. Throws CniError 7, for a missing NAD in the words that users know. */
export function resolveSelection(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  settings: MultusSettings,
  source: ConfigSource,
): Resolved {
  const nad = source.nad(namespace, name);
  if (nad !== undefined) return resolveNad(nad, settings, source);
  throw missingNad(namespace, name);
}

/** The code of a network that does not exist; its Pod gets the Event `NoNetworkFound`. */
export const networkNotFound = "NETWORK_NOT_FOUND";

function missingNad(namespace: string, name: string): CniError {
  const message = `cannot find a network-attachment-definition (${name}) in namespace (${namespace}): it does not exist`;
  const fix = `create it, or correct the Pod's annotation ${defaultNetworkAnnotation} or ${networksAnnotation}`;
  return new CniError(cniCodes.invalidConfig, message, { code: networkNotFound, details: { fix } });
}

/** True for a NAD whose configuration is in a file. */
function isEmpty({ spec }: Nad): boolean {
  return (spec?.config ?? "").trim() === "";
}

/** The configuration of a NAD: its own or, if it has none, that of the file with the NAD's name. */
function resolveNad(nad: Nad, settings: MultusSettings, source: ConfigSource): Resolved {
  const displayName = `${nad.metadata.namespace}/${nad.metadata.name}`;
  const resourceName = nad.metadata.annotations?.[resourceAnnotation];
  return {
    displayName,
    network: nadNetwork(nad, displayName, settings, source),
    ...(resourceName !== undefined && resourceName !== "" && { resourceName }),
  };
}

function nadNetwork(nad: Nad, displayName: string, settings: MultusSettings, source: ConfigSource): Network {
  const { name } = nad.metadata;
  const config = nad.spec?.config ?? "";
  if (!isEmpty(nad)) {
    return attempt(`NetworkAttachmentDefinition ${displayName}`, "spec.config", () =>
      decodeNetwork(config, { name, version: settings.cniVersion }),
    );
  }
  const found = searchByName(name, settings, source);
  if (found !== undefined) return found;
  throw new CniError(cniCodes.invalidConfig, `NetworkAttachmentDefinition ${displayName} is empty`, {
    code: "NETWORK_INVALID",
    details: { searched: settings.confDir, fix: remedy(name, nad.metadata.namespace) },
  });
}

/** The first file, sorted by name, whose configuration is called `name`. A malformed file before it ends the search. */
function searchByName(name: string, settings: MultusSettings, source: ConfigSource): Network | undefined {
  const files = (source.directory(settings.confDir) ?? [])
    .filter((file) => /\.(conf|json|conflist)$/.test(file))
    .sort();
  for (const file of files) {
    const path = `${settings.confDir}/${file}`;
    const text = source.file(path);
    if (text === undefined) continue; // removed since the directory was read
    const found = attempt(path, "the file", () => parseJsonObject(text, "network configuration")["name"] === name);
    if (found) return loadFile(path, text, settings, source);
  }
  return undefined;
}

function fromPath(path: string, settings: MultusSettings, source: ConfigSource): Resolved {
  const names = source.directory(path);
  const [first] = (names ?? []).filter((file) => /\.(conf|conflist)$/.test(file)).sort();
  const file = names === undefined ? path : first && `${path.replace(/\/+$/, "")}/${first}`;
  const text = file && source.file(file);
  if (file === undefined || text === undefined) {
    throw new CniError(
      cniCodes.invalidConfig,
      `failed to get clusterNetwork ${path} in namespace ${settings.multusNamespace}`,
      {
        text:
          names === undefined
            ? "there is no such path on the node"
            : "the directory has no .conf and no .conflist file",
      },
    );
  }
  const network = loadFile(file, text, settings, source);
  return { displayName: network.name, network };
}

/**
 * The list `auxiliaryCNIChainName`: the plugins in the files of the directory with this name beside the path `clusterNetwork`.
 * `passthru` comes first, so that each of them gets a previous result. Undefined if there are no such files.
 */
export function auxiliaryChain(
  { auxiliaryChainName: name, clusterNetwork, cniVersion }: MultusSettings,
  source: ConfigSource,
): Resolved | undefined {
  if (name === "" || !clusterNetwork.includes("/")) return undefined;
  const folder = source.directory(clusterNetwork) === undefined ? clusterNetwork : `${clusterNetwork}/.`;
  const texts = chainedFiles(folder, name, source);
  if (texts.length === 0) return undefined;
  const list = { name, cniVersion, plugins: [{ type: "passthru" }] };
  return { displayName: name, network: appendPlugins(decodeNetwork(list), texts) };
}

/** Decodes a configuration file: a single plugin, or a `.conflist`, to which the files of a directory may belong. */
function loadFile(path: string, text: string, settings: MultusSettings, source: ConfigSource): Network {
  return attempt(path, "the file", () => {
    const config = parseJsonObject(text, "network configuration");
    if (!path.endsWith(".conflist") && config["type"] === undefined) {
      throw new CniError(
        cniCodes.invalidConfig,
        "a single plugin must have a type; a list belongs into a .conflist file",
      );
    }
    const network = decodeNetwork(config, { version: settings.cniVersion });
    return network.loadOnlyInlinedPlugins ? network : appendPlugins(network, chainedFiles(path, network.name, source));
  });
}

function chainedFiles(listPath: string, name: string, source: ConfigSource): readonly string[] {
  const directory = `${listPath.slice(0, listPath.lastIndexOf("/"))}/${name}`;
  return (source.directory(directory) ?? [])
    .filter((file) => file.endsWith(".conf"))
    .sort()
    .flatMap((file) => source.file(`${directory}/${file}`) ?? []);
}

/** Adds to an error of `act` which object or file it is about, and what to correct there. */
function attempt<T>(what: string, where: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const { cniCode, message, text } = CniError.from(error);
    const advice = `${adviceMark}correct ${where}, which must be a CNI network configuration in JSON`;
    throw new CniError(cniCode, `${what}: ${message}`, {
      code: "NETWORK_INVALID",
      text: text === "" ? advice : `${text}. ${advice}`,
      cause: error,
    });
  }
}
