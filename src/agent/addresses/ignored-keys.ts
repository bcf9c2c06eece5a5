import { ignoredKeys } from "#api";
import type { Logger } from "#base";
import type { PluginConfig } from "#cni";

/** How many networks are remembered. */
const networksMax = 1_000;

/**
 * Tells the log once of each network whose `ipam` block has keys that have no effect, for networks of the node's own files. The
 * controller tells of those in NetworkAttachmentDefinitions.
 */
export class IgnoredKeys {
  readonly #log: Logger;
  readonly #told = new Set<string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  see({ raw }: PluginConfig): void {
    const keys = ignoredKeys(raw);
    const network = String(raw["name"] ?? "");
    if (keys.length === 0 || this.#told.has(network) || this.#told.size >= networksMax) return;
    this.#told.add(network);
    this.#log.warn({ network, keys }, "keys of a network's ipam block have no effect: the agent's own settings count");
  }
}
