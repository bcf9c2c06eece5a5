import { type CniResult, emptyResult, type Ipam, type PluginConfig, supportedVersions } from "#cni";
import type { ConfigSource } from "#multus";
import type { Plugin } from "#plugins";

type Nad = NonNullable<ReturnType<ConfigSource["nad"]>>;

// Plugins for agents that tests start, and networks with them.

/** The plugin as far as its process lives: one that has ended takes nothing back. */
export function mortal(
  plugin: Plugin<unknown>,
  life: { readonly isDead: () => boolean; readonly undo: (act: () => unknown) => unknown },
): Plugin<unknown> {
  const add: typeof plugin.add = (config, attachment, steps) => {
    const kept = new Proxy(steps, {
      get(target, name) {
        const found: unknown = Reflect.get(target, name, target);
        if (typeof found !== "function") return found;
        if (name !== "run" && name !== "beside") return found.bind(target);
        return (stage: unknown, act: unknown, { undo, ...rest }: { undo?: (done: unknown) => unknown } = {}) =>
          found.call(target, stage, act, {
            ...rest,
            ...(undo && { undo: (done: unknown) => life.undo(() => undo(done)) }),
          });
      },
    });
    return plugin.add(config, attachment, kept);
  };
  const del: typeof plugin.del = async (config, attachment, o) => {
    if (!life.isDead()) await plugin.del(config, attachment, o);
  };
  return new Proxy(plugin, {
    get(target, name) {
      if (name === "add") return add;
      if (name === "del") return del;
      const found: unknown = Reflect.get(target, name, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** The network of the test's plugin, as `namespace/name`. */
export function addressesNad(key: string): Nad {
  const [namespace = "", name = ""] = key.split("/");
  const config = { cniVersion: "1.1.0", name, type: "addresses", ipam: { type: "spiderpool" } };
  return { metadata: { namespace, name }, spec: { config: JSON.stringify(config) } };
}

/** Whether a network is called so. */
export function isNad(namespace: string, name: string): (nad: Nad) => boolean {
  return ({ metadata }) => metadata.namespace === namespace && metadata.name === name;
}

/** A plugin that has no link to make: it allocates, runs `linked`, and answers. */
export function addressPlugin(
  ipamFor: (config: PluginConfig) => Ipam | undefined,
  linked: () => Promise<void>,
): Plugin<PluginConfig> {
  return {
    type: "addresses",
    versions: supportedVersions,
    decode: (config) => config,
    async add(config, attachment, steps): Promise<CniResult> {
      const result = (await ipamFor(config)?.allocate(attachment, steps)) ?? emptyResult;
      await steps.run("link", linked);
      return { ...result, interfaces: [{ name: attachment.ifName, sandbox: attachment.netns }] };
    },
    check: async (config, attachment, o) => ipamFor(config)?.check(attachment, config.prevResult ?? emptyResult, o),
    del: async (config, attachment, o) => ipamFor(config)?.release(attachment, o),
  };
}
