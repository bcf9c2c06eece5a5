import { isJsonObject, type JsonObject } from "#base";
import { tryParseJson } from "../multusconfig/typed.ts";

/**
 * The keys of a plugin's `ipam` block that have no effect: the executable neither logs nor chooses the socket, because the agent
 * does the work and its own settings count.
 */
export function ignoredKeys(plugin: JsonObject): readonly string[] {
  const block = isJsonObject(plugin["ipam"]) ? plugin["ipam"] : {};
  if (block["type"] !== "spiderpool") return [];
  return Object.keys(block).filter((key) => /^log_(level|file_)|^ipam_unix_socket_path$/.test(key));
}

/** Those of all plugins of a network's JSON, each once. What is no network has none: others tell of that. */
export function ignoredKeysOfNetwork(text: string): readonly string[] {
  const network = tryParseJson(text);
  const { plugins = [network] } = isJsonObject(network) ? network : {};
  const found = Array.isArray(plugins) ? plugins.filter(isJsonObject).flatMap(ignoredKeys) : [];
  return [...new Set(found)];
}

/** The sentence about such keys. */
export function tellIgnoredKeys(keys: readonly string[]): string {
  const why = "the agent does the work, with its own settings, and logs to its own output";
  return `${keys.join(", ")} of the ipam block ${keys.length > 1 ? "have" : "has"} no effect: ${why}`;
}
