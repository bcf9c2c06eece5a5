import { isDeepStrictEqual } from "node:util";
import {
  apiGroup,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  networkNameOf,
  renderNetwork,
  type SpiderMultusConfig,
  spiderMultusConfigs,
} from "#api";
import { formatError, type Signal, SpiderError } from "#base";
import {
  type ControllerOptions,
  type Draft,
  fromStore,
  keyOf,
  type OwnerReference,
  type Store,
  subjectOf,
} from "#kube";
import type { Deps } from "../deps.ts";

interface MultusConfigStores {
  readonly configs: Store<SpiderMultusConfig>;
  readonly networks: Store<NetworkAttachmentDefinition>;
}

/** The key of the NetworkAttachmentDefinition into which an object is rendered. */
export function networkKeyOf(config: SpiderMultusConfig): string {
  const { namespace, name } = config.metadata;
  return keyOf({ namespace, name: networkNameOf(config) ?? name });
}

/**
 * Renders each SpiderMultusConfig into its NetworkAttachmentDefinition and repairs it when somebody edits or deletes it. Adopts
 * a NetworkAttachmentDefinition without an owner (such as the empty default network), but not another SpiderMultusConfig's.
 * Deletion is left to the garbage collector, by owner reference.
 */
export function multusConfigController(deps: Deps, { configs, networks }: MultusConfigStores): ControllerOptions {
  const { clock, log } = deps;
  const concerned = ({ metadata }: NetworkAttachmentDefinition) => {
    const key = keyOf(metadata);
    return configs.by("network", key).map((config) => keyOf(config.metadata));
  };
  return {
    name: "multus-config",
    clock,
    log,
    sources: [fromStore(configs), fromStore(networks, concerned)],
    reconcile: async (key, o) => {
      const config = configs.get(key);
      if (config === undefined || config.metadata.deletionTimestamp !== undefined) return {};
      const wanted = tryRender(deps, config);
      if (wanted === undefined) return {};
      await apply(deps, config, wanted, networks.get(networkKeyOf(config)), o);
      return {};
    },
  };
}

async function apply(
  { client, events, log }: Deps,
  config: SpiderMultusConfig,
  wanted: Draft<NetworkAttachmentDefinition>,
  found: NetworkAttachmentDefinition | undefined,
  o: Signal,
): Promise<void> {
  const { namespace } = config.metadata;
  const network = networkKeyOf(config);
  if (found === undefined) {
    await client.create(networkAttachmentDefinitions, wanted, o);
    log.info({ namespace, network }, "network created");
    return;
  }
  const other = foreignOwner(found, config);
  if (other !== undefined) {
    const message = `NetworkAttachmentDefinition ${network} already exists and is managed by SpiderMultusConfig ${other}: name another with the annotation multus.spidernet.io/cr-name, or delete that one`;
    events.record(subjectOf(spiderMultusConfigs, config), { type: "Warning", reason: "NetworkTaken", message });
    return;
  }
  if (found.metadata.deletionTimestamp !== undefined) return; // Its end is a change, which comes here again.
  const { annotations = {}, ownerReferences = [] } = wanted.metadata;
  const same =
    isDeepStrictEqual(found.metadata.annotations ?? {}, annotations) &&
    isDeepStrictEqual(found.spec ?? {}, wanted.spec ?? {}) &&
    found.metadata.ownerReferences?.some((owner) => isDeepStrictEqual(owner, ownerReferences[0])) === true;
  if (same) return;
  // Keep labels and other fields that somebody else set.
  const object = { ...found, metadata: { ...found.metadata, annotations, ownerReferences }, spec: wanted.spec ?? {} };
  await client.update(networkAttachmentDefinitions, object, o);
  log.info({ namespace, network }, "network brought in line with its SpiderMultusConfig");
}

/** The name of another SpiderMultusConfig that owns the network. Our name with another UID is our own predecessor. */
function foreignOwner({ metadata }: NetworkAttachmentDefinition, config: SpiderMultusConfig): string | undefined {
  const isForeign = ({ kind, apiVersion, name }: OwnerReference) =>
    kind === spiderMultusConfigs.kind && apiVersion.startsWith(`${apiGroup}/`) && name !== config.metadata.name;
  return metadata.ownerReferences?.find(isForeign)?.name;
}

function tryRender({ events }: Deps, config: SpiderMultusConfig): Draft<NetworkAttachmentDefinition> | undefined {
  try {
    return renderNetwork(config);
  } catch (error) {
    if (!(error instanceof SpiderError)) throw error;
    const message = formatError(error);
    events.record(subjectOf(spiderMultusConfigs, config), { type: "Warning", reason: "InvalidMultusConfig", message });
    return undefined;
  }
}
