import { type JsonObject, never, type Signal, type Steps } from "#base";
import {
  type Attachment,
  CniError,
  type CniResult,
  cniCodes,
  emptyResult,
  type Network,
  type NetworkPlugin,
  type PluginCall,
  type PluginConfig,
  pluginInput,
  type RunForeign,
  type ValidAttachment,
  type Verb,
  versionHas,
} from "#cni";
import { type Plugin, Together } from "#plugins";
import { type ForeignPlugins, foreignRunner, type Host, ipamTypeOf, runForeign } from "./foreign.ts";

/** The `ipam.type` of our own address management. */
export const ownIpam = "spiderpool";

/** The executable that a runtime calls once for all networks of a Pod. */
export const metaPlugin = "multus";

/**
 * Our executables that a network cannot name, with what they do. The first would wait for the very call that runs it; with the
 * second a Pod would run without an interface.
 */
const noNetworks: Readonly<Record<string, string>> = {
  [metaPlugin]: "which attaches all networks of a Pod",
  [ownIpam]: "which gives addresses alone, as an ipam.type",
};

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
      const config = this.#configOf(network, plugin, call);
      const ipam = ipamTypeOf(config.raw);
      refuseNoNetwork(plugin.type);
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
        const prevResult = own !== undefined || versionHas(network.cniVersion, "result at DEL") ? result : undefined;
        const config = this.#configOf(network, plugin, call, { prevResult });
        if (own !== undefined) await own.del(own.decode(config), call.attachment, o);
        else await runConfigured("DEL", config, call, o);
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
      const config = own.decode(this.#configOf(network, plugin, call, { prevResult: result }));
      made.push(...(await own.restore(config, call.attachment, o)));
    }
    return made;
  }

  async check(network: Network, call: ChainCall, result: CniResult, o: Signal): Promise<void> {
    if (network.disableCheck) return;
    for (const plugin of network.plugins) {
      const own = this.#plugins.get(plugin.type);
      const config = this.#configOf(network, plugin, call, { prevResult: result });
      if (own !== undefined) await own.check(own.decode(config), call.attachment, o);
      else if (versionHas(network.cniVersion, "CHECK")) await runConfigured("CHECK", config, call, o);
    }
  }

  /** Throws if an ADD cannot succeed now, with the reason of the first plugin that says so. */
  async status(network: Network, host: Host, o: Signal): Promise<void> {
    const call = withoutContainer(host);
    for (const [at, plugin] of network.plugins.entries()) {
      const own = this.#plugins.get(plugin.type);
      const config = this.#configOf(network, plugin, call);
      const ipam = ipamTypeOf(config.raw);
      if (own !== undefined) await own.status?.(own.decode(config), { ...o, isFirst: at === 0 });
      if (!versionHas(network.cniVersion, "STATUS")) continue;
      if (own === undefined) await runConfigured("STATUS", config, call, o);
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
        const config = this.#configOf(network, plugin, call, { validAttachments: valid });
        const ipam = ipamTypeOf(config.raw);
        if (own !== undefined) await own.gc?.(own.decode(config), valid, o);
        if (!versionHas(network.cniVersion, "GC")) continue;
        if (own === undefined) await runConfigured("GC", config, call, o);
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
        return own.pairs(own.decode(this.#configOf(network, plugin, call)), call.attachment, steps);
      }),
    );
    const names = pairs.flat().map(({ name }) => name);
    const twice = names.find((name, at) => names.indexOf(name) !== at);
    if (twice === undefined) return new Together(pairs.flat());
    const types = network.plugins.slice(1).filter((_, at) => pairs[at]?.some(({ name }) => name === twice));
    throw new CniError(cniCodes.invalidConfig, "two plugins of the network make the same interface", {
      details: {
        interface: twice,
        plugins: types.map(({ type }) => type).join(", "),
        fix: "leave one of them in the network's list of plugins",
      },
    });
  }

  async #add(
    network: Network,
    plugin: NetworkPlugin,
    call: ChainCall,
    steps: Steps,
    { together, prevResult }: { readonly together: Together; readonly prevResult: CniResult | undefined },
  ): Promise<CniResult> {
    const config = this.#configOf(network, plugin, call, { prevResult });
    const own = this.#plugins.get(plugin.type);
    if (own !== undefined) return own.add(own.decode(config), call.attachment, steps, together);
    return steps.run("link", (o) => runConfigured("ADD", config, call, o), {
      of: plugin.type,
      undo: async () => void (await runConfigured("DEL", config, call, { signal: never })),
    });
  }

  /** The decoded configuration that a plugin of the network gets on stdin. */
  #configOf(
    network: Network,
    plugin: NetworkPlugin,
    { capabilityArgs }: Pick<ChainCall, "capabilityArgs">,
    { prevResult, validAttachments }: Omit<PluginCall, "capabilityArgs"> = {},
  ): PluginConfig {
    const { cniVersion, name } = network;
    const { type } = plugin;
    const raw = pluginInput(network, plugin, {
      // Ours read it as it is. In its text it is needed only where a foreign plugin gets the configuration.
      prevResult: this.#isForOursAlone(plugin) ? undefined : prevResult,
      capabilityArgs,
      ...(validAttachments !== undefined && { validAttachments }),
    });
    return { cniVersion, name, type, raw, ...(prevResult !== undefined && { prevResult }) };
  }

  #isForOursAlone({ type, raw }: NetworkPlugin): boolean {
    const ipam = ipamTypeOf(raw);
    return this.#plugins.has(type) && (ipam === undefined || ipam === ownIpam);
  }
}

function runConfigured(
  verb: Verb,
  { type, raw }: PluginConfig,
  { attachment }: { readonly attachment: Pick<Attachment, "run"> },
  o: Signal,
): Promise<CniResult> {
  return runForeign(verb, { type, config: raw }, attachment, o);
}

/** GC and STATUS are about no container. */
function withoutContainer(host: Host) {
  const attachment = { containerId: "", netns: "", ifName: "", pod: undefined, args: new Map<string, string>() };
  const run: RunForeign = foreignRunner(attachment, host);
  return { attachment: { run }, run, capabilityArgs: {} };
}

function refuseNoNetwork(type: string): void {
  if (!Object.hasOwn(noNetworks, type)) return;
  throw new CniError(cniCodes.invalidConfig, "a plugin of the network makes no interface", {
    details: {
      plugin: `${type}, ${noNetworks[type]}`,
      fix: "name the plugin that makes the interface, such as ovs or macvlan",
    },
  });
}
