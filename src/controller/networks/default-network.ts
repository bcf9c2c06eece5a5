import { type NetworkAttachmentDefinition, networkAttachmentDefinitions } from "#api";
import { type ControllerOptions, keyOf, parseKey, type Store } from "#kube";
import type { Deps } from "../deps.ts";

/**
 * Creates the cluster's default network, empty, where it is absent: Pods then get the node's former CNI configuration
 * until somebody fills it. Whatever is there stays as it is. `network` is `name` or `namespace/name`.
 */
export function defaultNetworkController(
  { client, clock, log }: Deps,
  {
    network,
    namespace,
    networks,
  }: {
    readonly network: string;
    readonly namespace: string;
    readonly networks: Store<NetworkAttachmentDefinition>;
  },
): ControllerOptions {
  const { namespace: named = namespace, name } = parseKey(network);
  const ref = { namespace: named, name };
  const key = keyOf(ref);
  return {
    name: "default-network",
    clock,
    log,
    sources: [
      {
        synced: (o) => networks.synced(o),
        subscribe: (add) => {
          add(key);
          return networks.changed((changed) => changed === key && add(key));
        },
      },
    ],
    reconcile: async (_key, o) => {
      if (networks.get(key) !== undefined) return {};
      await client.create(networkAttachmentDefinitions, { metadata: ref, spec: {} }, o);
      log.info({ network: key }, "default network created, empty");
      return {};
    },
  };
}
