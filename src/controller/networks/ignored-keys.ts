import {
  ignoredKeysOfNetwork,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  tellIgnoredKeys,
} from "#api";
import { type ControllerOptions, fromStore, type Store, subjectOf } from "#kube";
import type { Deps } from "../deps.ts";

/**
 * Says in an Event which keys of a network's `ipam` block have no effect: nothing admits networks that users write themselves, and
 * the agents' logs are no place where one looks for what a network does.
 */
export function ignoredKeysController(
  { clock, log, events }: Deps,
  { networks }: { readonly networks: Store<NetworkAttachmentDefinition> },
): ControllerOptions {
  return {
    name: "network-keys",
    clock,
    log,
    sources: [fromStore(networks)],
    reconcile: async (key) => {
      const network = networks.get(key);
      const keys = ignoredKeysOfNetwork(network?.spec?.config ?? "");
      if (network === undefined || keys.length === 0) return {};
      const message = tellIgnoredKeys(keys);
      events.record(subjectOf(networkAttachmentDefinitions, network), {
        type: "Warning",
        reason: "KeysWithoutEffect",
        message,
      });
      return {};
    },
  };
}
