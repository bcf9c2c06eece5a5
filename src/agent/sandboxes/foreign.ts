import { isJsonObject, type Signal } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  decodeOutput,
  type ExecFrame,
  encodeEnv,
  type ForeignPlugin,
  formatJson,
  noSuchPlugin,
  type PluginOutput,
  parseJsonObject,
  type RunForeign,
  type Verb,
} from "#cni";

/** Runs a plugin as the shim's child, in the runtime's own namespaces. One at a time, in order of request. */
export type ShimExec = (command: Omit<ExecFrame, "kind">) => Promise<PluginOutput>;

/** Runs a plugin within the rest of the call's time, or `timeoutMs` if that is less. */
export type Exec = (
  command: Omit<Parameters<ShimExec>[0], "timeoutMs"> & { readonly timeoutMs?: number },
) => Promise<PluginOutput>;

/** How one call runs plugins that are not ours. */
export interface Host {
  readonly exec: Exec;
  /** The directories in which plugins are looked for, as the runtime sees them. */
  readonly path: readonly string[];
}

/** How long a plugin may take to answer VERSION. After that it counts as one without VERSION. */
const probeMsMax = 5_000;
/** How many plugins' versions are remembered. */
const knownMax = 1_000;
const killed = 9;

/** Runs plugins for one attachment, each with the attachment's environment. */
export function foreignRunner(attachment: Omit<Attachment, "run">, { exec, path }: Host): RunForeign {
  return async (verb, { type, config }, { signal }) => {
    // CNI_NETNS_OVERRIDE of the runtime holds for our plugins, too: they inherit our environment.
    const { CNI_NETNS_OVERRIDE: _override, ...env } = encodeEnv(
      { ...attachment, verb, path, netnsOverride: false },
      attachment.args,
    );
    const output = await exec({
      path: path.join(":"),
      argv0: type,
      env,
      stdin: Buffer.from(formatJson(config)),
    });
    refuseMissing(output, type, path);
    const call = { verb, type, network: String(config["name"]), cniVersion: String(config["cniVersion"]) };
    if (output.signal === killed && signal.aborted) {
      throw new CniError(
        cniCodes.tryAgain,
        `plugin type=${JSON.stringify(type)} name=${JSON.stringify(call.network)} was ended unfinished (${verb.toLowerCase()})`,
        { cause: signal.reason },
      );
    }
    return decodeOutput(call, output);
  };
}

/**
 * Runs a foreign plugin for the attachment. Throws CniError 11 (`NO_SHIM`) if no call of the runtime is under way: there is no shim
 * then whose child it could be.
 */
export function runForeign(
  verb: Verb,
  plugin: ForeignPlugin,
  { run }: Pick<Attachment, "run">,
  o: Signal,
): Promise<CniResult> {
  if (run !== undefined) return run(verb, plugin, o);
  throw noShim(plugin.type);
}

/** The error of a foreign plugin that cannot run, because no call of the runtime is under way. */
export function noShim(plugin: string): CniError {
  return new CniError(cniCodes.tryAgain, "foreign plugins run only during a call of the runtime", {
    code: "NO_SHIM",
    details: { plugin },
  });
}

/** Which foreign plugins exist, and which versions they know. It is asked before the first side effect of an ADD. */
export class ForeignPlugins {
  readonly #versions = new Map<string, readonly string[]>();

  /** Throws CniError 7 if there is no such plugin, and CniError 1 if the plugin says that it does not know the version. */
  async verify(type: string, cniVersion: string, host: Host): Promise<void> {
    const key = [type, ...host.path].join(":");
    const knows = (all: readonly string[]) => all.length === 0 || all.includes(cniVersion);
    const known = this.#versions.get(key);
    // Nothing is refused by what is remembered: a newer plugin may be there since.
    if (known !== undefined && knows(known)) return;
    const versions = await versionsOf(type, cniVersion, host);
    if (this.#versions.size >= knownMax) this.#versions.clear();
    this.#versions.set(key, versions);
    if (knows(versions)) return;
    throw new CniError(
      cniCodes.incompatibleVersion,
      `plugin ${JSON.stringify(type)} does not know the cniVersion of the configuration`,
      {
        details: {
          field: "cniVersion",
          found: cniVersion,
          allowed: versions,
          fix: "set cniVersion of the network's configuration to one of these, or install a newer plugin",
        },
      },
    );
  }
}

/** The versions of a plugin; empty if the plugin does not say. */
async function versionsOf(type: string, cniVersion: string, { exec, path }: Host): Promise<readonly string[]> {
  const none = { containerId: "", netns: "", ifName: "", netnsOverride: false };
  const output = await exec({
    path: path.join(":"),
    argv0: type,
    env: { ...encodeEnv({ ...none, verb: "STATUS", path }, []), CNI_COMMAND: "VERSION" },
    stdin: Buffer.from(formatJson({ cniVersion })),
    timeoutMs: probeMsMax,
  });
  refuseMissing(output, type, path);
  return supportedVersionsOf(output);
}

function supportedVersionsOf({ exitCode, stdout }: PluginOutput): readonly string[] {
  if (exitCode !== 0) return [];
  try {
    const { supportedVersions } = parseJsonObject(stdout, "answer to VERSION");
    return Array.isArray(supportedVersions) ? supportedVersions.filter((one) => typeof one === "string") : [];
  } catch {
    return []; // The first plugins had no VERSION, and scripts often have none.
  }
}

/** Returns `ipam.type` of a configuration; undefined if it has none. Throws CniError 7 if it is not a file name. */
export function ipamTypeOf(config: Readonly<Record<string, unknown>>): string | undefined {
  const { ipam } = config;
  // An empty block is how some write "none".
  if (ipam === undefined || ipam === null || (isJsonObject(ipam) && Object.keys(ipam).length === 0)) return undefined;
  const isBlock = isJsonObject(ipam);
  const type = isBlock ? ipam["type"] : undefined;
  if (typeof type === "string" && type !== "" && type !== "." && type !== ".." && !type.includes("/")) return type;
  throw new CniError(cniCodes.invalidConfig, "the network configuration has a value that cannot be used", {
    details: isBlock
      ? { field: "ipam.type", value: type, allowed: '"spiderpool", or the file name of another IPAM plugin' }
      : { field: "ipam", value: ipam, allowed: 'an object as in {"type": "spiderpool"}' },
  });
}

function refuseMissing({ exitCode, stderr }: PluginOutput, type: string, path: readonly string[]): void {
  if (exitCode !== 127 || Buffer.from(stderr).toString() !== noSuchPlugin) return;
  throw new CniError(
    cniCodes.invalidConfig,
    `failed to find plugin ${JSON.stringify(type)} in path [${path.join(" ")}]`,
    {
      code: "PLUGIN_NOT_FOUND",
      details: {
        fix: "install it there (the chart's plugins.installCNI does, for the reference plugins), or correct `type` in the network's configuration",
      },
    },
  );
}
