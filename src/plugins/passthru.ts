import { emptyResult, type PluginConfig, supportedVersions } from "#cni";
import type { Plugin } from "./plugin.ts";

/** The plugin `passthru`: does nothing and answers with what it was given, so that a plugin behind it has a result to work on. */
export function createPassthruPlugin(): Plugin<PluginConfig> {
  return {
    type: "passthru",
    versions: supportedVersions,
    decode: (config) => config,
    add: async ({ prevResult }) => prevResult ?? emptyResult,
    check: async () => {},
    del: async () => {},
  };
}
