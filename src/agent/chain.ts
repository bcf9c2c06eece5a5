import { statSync } from "node:fs";
import { join } from "node:path";
import type { Signal, Steps } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  decodeOutput,
  decodeResult,
  emptyResult,
  encodeEnv,
  formatJson,
  type JsonObject,
  type Network,
  type NetworkPlugin,
  type PluginConfig,
  pluginInput,
  type Verb,
} from "#cni";
import type { Plugin } from "#plugins";
import type { RunForeign } from "./server.ts";

/** Longest life of one foreign plugin. */
const foreignMsMax = 60_000;

/** What one call needs beyond the attachment: the runtime's plugin directories and its way to run a program. */
export interface ChainCall {
  readonly attachment: Attachment;
  /** CNI_PATH. */
  readonly path: readonly string[];
  readonly capabilityArgs: JsonObject;
  readonly exec: RunForeign;
}

/** Runs a network's plugins in order: ours in this process, all others as children of the shim. */
export class Chain {
  readonly #plugins: ReadonlyMap<string, Plugin<unknown>>;

  constructor(plugins: readonly Plugin<unknown>[]) {
    this.#plugins = new Map(plugins.map((plugin) => [plugin.type, plugin]));
  }

  /** The plugin of this type that we are; undefined for a foreign one. */
  plugin(type: string): Plugin<unknown> | undefined {
    return this.#plugins.get(type);
  }

  /** Throws for the first plugin that does not exist or cannot work with its configuration. Acts on nothing. */
  verify(network: Network, call: ChainCall): void {
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      if (own === undefined) findPlugin(plugin.type, call.path);
      else own.decode(configOf(network, plugin, call, undefined));
    }
  }

  /** Returns the last plugin's result. */
  async add(network: Network, call: ChainCall, steps: Steps, before: CniResult | undefined): Promise<CniResult> {
    let prevResult = before;
    for (const plugin of network.plugins) prevResult = await this.#add(network, plugin, call, steps, prevResult);
    return prevResult ?? emptyResult;
  }

  /** In reverse order. All are tried; the first failure is thrown at the end. */
  async del(network: Network, call: ChainCall, result: CniResult | undefined, o: Signal): Promise<void> {
    const failures: unknown[] = [];
    for (const plugin of network.plugins.toReversed()) {
      try {
        const own = this.#plugins.get(plugin.type);
        const config = configOf(network, plugin, call, result);
        if (own !== undefined) await own.del(own.decode(config), call.attachment, o);
        else await this.#foreign("DEL", network, plugin, call, config);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** What somebody else took from the node is made again, by the plugins that can. Returns a line for each thing made. */
  async restore(network: Network, call: ChainCall, result: CniResult, o: Signal): Promise<readonly string[]> {
    const made: string[] = [];
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      if (own?.restore === undefined) continue;
      made.push(...(await own.restore(own.decode(configOf(network, plugin, call, result)), call.attachment, o)));
    }
    return made;
  }

  async check(network: Network, call: ChainCall, result: CniResult, o: Signal): Promise<void> {
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      const config = configOf(network, plugin, call, result);
      if (own !== undefined) await own.check(own.decode(config), call.attachment, o);
      else await this.#foreign("CHECK", network, plugin, call, config);
    }
  }

  async #add(
    network: Network,
    plugin: NetworkPlugin,
    call: ChainCall,
    steps: Steps,
    prevResult: CniResult | undefined,
  ): Promise<CniResult> {
    const config = configOf(network, plugin, call, prevResult);
    const own = this.#plugins.get(plugin.type);
    if (own !== undefined) return own.add(own.decode(config), call.attachment, steps);
    return steps.run("link", () => this.#foreign("ADD", network, plugin, call, config), {
      of: plugin.type,
      undo: () => this.#foreign("DEL", network, plugin, call, config).then(() => {}),
    });
  }

  async #foreign(
    verb: Verb,
    network: Network,
    plugin: NetworkPlugin,
    call: ChainCall,
    config: PluginConfig,
  ): Promise<CniResult> {
    const { attachment, path } = call;
    const output = await call.exec({
      path: findPlugin(plugin.type, path),
      argv0: plugin.type,
      env: encodeEnv({ ...attachment, verb, path, netnsOverride: false }, attachment.args),
      stdin: Buffer.from(formatJson(config.raw)),
      timeoutMs: foreignMsMax,
    });
    return decodeOutput({ verb, type: plugin.type, network: network.name, cniVersion: network.cniVersion }, output);
  }
}

/** What a plugin of the network gets on stdin, decoded. */
function configOf(
  network: Network,
  plugin: NetworkPlugin,
  { capabilityArgs }: ChainCall,
  prevResult: CniResult | undefined,
): PluginConfig {
  const raw = pluginInput(network, plugin, { prevResult, capabilityArgs });
  const { cniVersion, name } = network;
  return { cniVersion, name, type: plugin.type, raw, ...(prevResult === undefined ? {} : { prevResult }) };
}

/** The result that a record kept, or undefined where ADD never had one. */
export function recordedResult(result: JsonObject | undefined, cniVersion: string): CniResult | undefined {
  return result === undefined ? undefined : decodeResult(result, cniVersion);
}

function findPlugin(type: string, path: readonly string[]): string {
  for (const folder of path) {
    const file = join(folder, type);
    if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return file;
  }
  throw new CniError(
    cniCodes.invalidConfig,
    `failed to find plugin ${JSON.stringify(type)} in path [${path.join(" ")}]`,
    { details: { fix: "install it there, or correct `type` in the network's configuration" } },
  );
}
