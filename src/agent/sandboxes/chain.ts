import { never, type Signal, SpiderError, type Steps } from "#base";
import {
  type Attachment,
  type CniResult,
  compareVersions,
  emptyResult,
  type JsonObject,
  type Network,
  type NetworkPlugin,
  type PluginCall,
  type PluginConfig,
  pluginInput,
  type RunForeign,
  type ValidAttachment,
  type Verb,
} from "#cni";
import { type Plugin, Together } from "#plugins";
import { type ForeignPlugins, foreignRunner, type Host, ipamTypeOf } from "./foreign.ts";

/** The `ipam.type` of our own address management. */
export const ownIpam = "spiderpool";
/** The first versions that have these verbs, and the result of ADD at DEL. Our own plugins check older versions, too. */
const sinceVersion = { CHECK: "0.4.0", prevResult: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" } as const;

/** What one call needs beyond the attachment. */
export interface ChainCall {
  readonly attachment: Attachment;
  readonly capabilityArgs: JsonObject;
}

/** Runs a network's plugins in order: ours in this process, all others as children of the shim. */
export class Chain {
  readonly #plugins: ReadonlyMap<string, Plugin<unknown>>;
  readonly #foreign: ForeignPlugins;

  constructor(plugins: readonly Plugin<unknown>[], foreign: ForeignPlugins) {
    this.#plugins = new Map(plugins.map((plugin) => [plugin.type, plugin]));
    this.#foreign = foreign;
  }

  /** Our plugin of this type; undefined for a foreign one. */
  plugin(type: string): Plugin<unknown> | undefined {
    return this.#plugins.get(type);
  }

  /**
   * Throws for the first plugin that does not exist, or whose configuration is wrong or does not fit the Pod's interfaces, where
   * we know all of them. Changes nothing.
   */
  async verify(
    network: Network,
    call: ChainCall,
    host: Host,
    interfaces: readonly string[] | undefined,
    o: Signal,
  ): Promise<void> {
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      const config = configOf(network, plugin, call);
      const ipam = ipamTypeOf(config.raw);
      if (own === undefined) await this.#foreign.verify(plugin.type, network.cniVersion, host);
      else {
        const decoded = own.decode(config);
        if (interfaces !== undefined) await own.verify?.(decoded, call.attachment, interfaces, o);
      }
      if (own !== undefined && ipam !== undefined && ipam !== ownIpam) {
        await this.#foreign.verify(ipam, network.cniVersion, host);
      }
    }
  }

  /** Runs ADD of the plugins in order. Returns the last plugin's result. */
  async add(network: Network, call: ChainCall, steps: Steps, before: CniResult | undefined): Promise<CniResult> {
    let prevResult = before;
    const together = await this.#together(network, call, steps);
    for (const plugin of network.plugins) {
      prevResult = await this.#add(network, plugin, call, steps, { together, prevResult });
    }
    return prevResult ?? emptyResult;
  }

  /** Runs DEL of the plugins in reverse order. All are tried; the first failure is thrown at the end. */
  async del(network: Network, call: ChainCall, result: CniResult | undefined, o: Signal): Promise<void> {
    const failures: unknown[] = [];
    for (const plugin of network.plugins.toReversed()) {
      try {
        const own = this.#plugins.get(plugin.type);
        const prevResult = own !== undefined || allows("prevResult", network) ? result : undefined;
        const config = configOf(network, plugin, call, { prevResult });
        if (own !== undefined) await own.del(own.decode(config), call.attachment, o);
        else await runForeign("DEL", config, call, o);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Lets plugins restore what somebody else removed from the node. Returns a line for each thing that was restored. */
  async restore(network: Network, call: ChainCall, result: CniResult, o: Signal): Promise<readonly string[]> {
    const made: string[] = [];
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      if (own?.restore === undefined) continue;
      made.push(
        ...(await own.restore(own.decode(configOf(network, plugin, call, { prevResult: result })), call.attachment, o)),
      );
    }
    return made;
  }

  async check(network: Network, call: ChainCall, result: CniResult, o: Signal): Promise<void> {
    if (network.disableCheck) return;
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      const config = configOf(network, plugin, call, { prevResult: result });
      if (own !== undefined) await own.check(own.decode(config), call.attachment, o);
      else if (allows("CHECK", network)) await runForeign("CHECK", config, call, o);
    }
  }

  /** Throws if an ADD cannot succeed now, with the reason of the first plugin that says so. */
  async status(network: Network, host: Host, o: Signal): Promise<void> {
    const call = withoutContainer(host);
    for (const [at, plugin] of network.plugins.entries()) {
      const own = this.#plugins.get(plugin.type);
      const config = configOf(network, plugin, call);
      const ipam = ipamTypeOf(config.raw);
      if (own !== undefined) await own.status?.(own.decode(config), { ...o, isFirst: at === 0 });
      if (!allows("STATUS", network)) continue;
      if (own === undefined) await runForeign("STATUS", config, call, o);
      else if (ipam !== undefined && ipam !== ownIpam) await call.run("STATUS", { type: ipam, config: config.raw }, o);
    }
  }

  /** Lets plugins remove what belongs to no valid attachment of the network. All are tried; the first failure is thrown. */
  async gc(network: Network, valid: readonly ValidAttachment[], host: Host, o: Signal): Promise<void> {
    if (network.disableGc) return;
    const call = withoutContainer(host);
    const failures: unknown[] = [];
    for (const plugin of network.plugins) {
      try {
        const own = this.#plugins.get(plugin.type);
        const config = configOf(network, plugin, call, { validAttachments: valid });
        const ipam = ipamTypeOf(config.raw);
        if (own !== undefined) await own.gc?.(own.decode(config), valid, o);
        if (!allows("GC", network)) continue;
        if (own === undefined) await runForeign("GC", config, call, o);
        else if (ipam !== undefined && ipam !== ownIpam) await call.run("GC", { type: ipam, config: config.raw }, o);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** What later plugins need, so that an earlier one can make it in the same step. */
  async #together(network: Network, call: ChainCall, steps: Steps): Promise<Together> {
    const pairs = await Promise.all(
      network.plugins.slice(1).map(async (plugin) => {
        const own = this.#plugins.get(plugin.type);
        if (own?.pairs === undefined) return [];
        return own.pairs(own.decode(configOf(network, plugin, call)), call.attachment, steps);
      }),
    );
    return new Together(pairs.flat());
  }

  async #add(
    network: Network,
    plugin: NetworkPlugin,
    call: ChainCall,
    steps: Steps,
    { together, prevResult }: { readonly together: Together; readonly prevResult: CniResult | undefined },
  ): Promise<CniResult> {
    const config = configOf(network, plugin, call, { prevResult });
    const own = this.#plugins.get(plugin.type);
    if (own !== undefined) return own.add(own.decode(config), call.attachment, steps, together);
    return steps.run("link", (o) => runForeign("ADD", config, call, o), {
      of: plugin.type,
      undo: async () => void (await runForeign("DEL", config, call, { signal: never })),
    });
  }
}

/** The decoded configuration that a plugin of the network gets on stdin. */
function configOf(
  network: Network,
  plugin: NetworkPlugin,
  { capabilityArgs }: Pick<ChainCall, "capabilityArgs">,
  { prevResult, validAttachments }: Omit<PluginCall, "capabilityArgs"> = {},
): PluginConfig {
  const raw = pluginInput(network, plugin, {
    prevResult,
    capabilityArgs,
    ...(validAttachments !== undefined && { validAttachments }),
  });
  const { cniVersion, name } = network;
  return { cniVersion, name, type: plugin.type, raw, ...(prevResult !== undefined && { prevResult }) };
}

function runForeign(
  verb: Verb,
  { type, raw }: PluginConfig,
  { attachment: { run } }: { readonly attachment: Pick<Attachment, "run"> },
  o: Signal,
): Promise<CniResult> {
  if (run !== undefined) return run(verb, { type, config: raw }, o);
  throw new SpiderError("NO_SHIM", "foreign plugins run only during a call of the runtime", { details: { type } });
}

/** GC and STATUS are about no container. */
function withoutContainer(host: Host) {
  const attachment = { containerId: "", netns: "", ifName: "", pod: undefined, args: new Map<string, string>() };
  const run: RunForeign = foreignRunner(attachment, host);
  return { attachment: { run }, run, capabilityArgs: {} };
}

function allows(what: keyof typeof sinceVersion, { cniVersion }: Network): boolean {
  return compareVersions(cniVersion, sinceVersion[what]) >= 0;
}
