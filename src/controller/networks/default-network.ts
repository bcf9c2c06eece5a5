import { annotations, type NetworkAttachmentDefinition, networkAttachmentDefinitions } from "#api";
import type { Signal } from "#base";
import { type ControllerOptions, type KubeClient, keyOf, type Pod, parseKey, pods, type Store, subjectOf } from "#kube";
import type { Deps } from "../deps.ts";

/** Events expire after an hour: repeated this often, one is always visible while the network is empty. */
const tellApartMs = 30 * 60_000;
/** How many Pods the Event names. */
const namedPodsMax = 10;

/**
 * Creates the cluster's default network, empty, if it does not exist. Until somebody fills it, Pods get the node's previous CNI
 * configuration, and an Event says so and names the Pods whose network will change. An existing network stays unchanged.
 * `network` is `name` or `namespace/name`.
 */
export function defaultNetworkController(
  { client, clock, events, log }: Deps,
  {
    network,
    creates,
    namespace,
    networks,
  }: {
    readonly network: string;
    /** False if somebody else creates it, and may delete it for good. */
    readonly creates: boolean;
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
      const found = networks.get(key);
      if (found === undefined) {
        if (!creates) return {};
        await client.create(networkAttachmentDefinitions, { metadata: ref, spec: {} }, o);
        log.info({ network: key }, "default network created, empty");
        return {};
      }
      if (found.spec?.config) return {};
      const message = `${key} is empty: Pods that name no default network are on the node's former one. A SpiderMultusConfig ${key} fills it; then ${await affectedPods(client, o)}`;
      events.record(subjectOf(networkAttachmentDefinitions, found), {
        type: "Normal",
        reason: "DefaultNetworkEmpty",
        message,
      });
      return { afterMs: tellApartMs };
    },
  };
}

/** The Pods that a change of the default network affects, as the end of a sentence. */
async function affectedPods(client: KubeClient, o: Signal): Promise<string> {
  const named: string[] = [];
  let count = 0;
  for await (const pod of client.listAll(pods, o)) {
    if (!isOnDefaultNetwork(pod)) continue;
    count++;
    if (named.length < namedPodsMax) named.push(keyOf(pod.metadata));
  }
  if (count === 0) return "new Pods without the annotation are on it (at present there are none)";
  const more = count > named.length ? ` and ${count - named.length} more` : "";
  return `these ${count} are on it as soon as they are made anew: ${named.join(", ")}${more}`;
}

function isOnDefaultNetwork({ metadata, spec }: Pod): boolean {
  return spec?.hostNetwork !== true && !metadata.annotations?.[annotations.defaultNetwork];
}
