import { masterOf, networkPools, type SelectionInput } from "#ipam";
import {
  addFailure,
  type ConfigSource,
  type Delegate,
  decodeSettings,
  defaultNetworkAnnotation,
  type MultusSettings,
  type NetworkSelection,
  networksAnnotation,
  nicNameOf,
  parseDefaultNetwork,
  parseNetworks,
  planDefaultRoutes,
  planDelegates,
  resolveSelection,
} from "#multus";
import type { Facts, Usage } from "./facts.ts";
import { type NicReport, nicReport } from "./nic-report.ts";
import { isManaged, type PodScene } from "./scene.ts";

/** Where agents look for configurations by name, unless the release says otherwise. */
const confDir = "/etc/cni/net.d";
/** The name by which the node's own default network goes where the cluster names none: only the node knows its plugins. */
const unknownNetwork = "the node's own network";

/** What an ADD of the Pod on one node would come to, as far as the API server knows. */
export interface Attempt {
  readonly node: string;
  readonly nics: readonly NicReport[];
  /** What the runtime would be answered; undefined: nothing stands against it. */
  readonly failure?: unknown;
  /** It depends on files of the node, which only its agent sees. */
  readonly uncertain: boolean;
}

/** The pools whose use has to be known for an {@link attemptOn} this node. */
export function candidatePools(facts: Facts, node: string): readonly string[] {
  return attemptOn(facts, new Map(), node).nics.flatMap(({ decisions }) =>
    decisions.flatMap(({ outcome }) => (outcome.kind === "candidates" ? outcome.pools : [])),
  );
}

/** Does as the agent does, with the same functions, up to where the node itself would be asked. Never throws. */
export function attemptOn(facts: Facts, usage: Usage, node: string): Attempt {
  const { delegates, source, failure, uncertain } = delegatesOf(facts);
  if (delegates === undefined) return { node, nics: askedNetworks(facts, source), failure, uncertain: uncertain() };
  const nics = delegates.map((delegate) => nicReport(facts, usage, node, delegate));
  const failed = nics.findIndex(({ problem }) => problem !== undefined);
  const delegate = delegates[failed];
  const problem = delegate && addFailure(facts.pod, delegate, nics[failed]?.problem);
  // Only the node knows the addresses of the interface to which a virtual function belongs.
  const comparesMaster = delegates.some(({ network }) =>
    network.plugins.some(({ raw }) => masterOf(raw) !== undefined),
  );
  return { node, nics, uncertain: comparesMaster || uncertain(), ...(problem && { failure: problem }) };
}

/** The NICs of the Pod whose addresses come from IPPools, with what their network says about pools. */
export function managedNics(scene: PodScene): {
  readonly nics: readonly { readonly nic: string; readonly network: SelectionInput["network"] }[];
  /** Why the Pod has no networks at all. */
  readonly failure?: unknown;
  /** It depends on files of the node, which only its agent sees. */
  readonly uncertain: boolean;
} {
  const { delegates = [], failure, uncertain } = delegatesOf(scene);
  const nics = delegates.flatMap(({ ifName: nic, network }) => {
    const config = network.plugins.map(({ raw }) => raw).find(isManaged);
    return config === undefined ? [] : [{ nic, network: networkPools(config) }];
  });
  return { nics, uncertain: uncertain(), ...(failure !== undefined && { failure }) };
}

function delegatesOf(scene: PodScene): {
  readonly delegates?: readonly Delegate[];
  readonly source: ConfigSource;
  readonly failure?: unknown;
  readonly uncertain: () => boolean;
} {
  const { namespace, annotations } = scene.pod;
  const { source, uncertain } = sourceOf(scene);
  try {
    const pod = { namespace, annotations };
    const delegates = planDelegates({ settings: settingsOf(scene), source, ifName: "eth0", pod });
    planDefaultRoutes(delegates);
    return { delegates, source, uncertain };
  } catch (failure) {
    return { source, failure, uncertain };
  }
}

/** Where the plan as a whole fails: each network that the Pod asks for, with what is wrong with it by itself. */
function askedNetworks(facts: Facts, source: ConfigSource): readonly NicReport[] {
  const { namespace, annotations } = facts.pod;
  const { [defaultNetworkAnnotation]: byPod = "", [networksAnnotation]: networks = "" } = annotations;
  const settings = settingsOf(facts);
  const byDefault = readable(() => (byPod.trim() === "" ? [] : [parseDefaultNetwork(byPod, settings.multusNamespace)]));
  const selected = readable(() => parseNetworks(networks, namespace));
  const asked = [
    ...byDefault.map((one) => ({ ...one, nic: "eth0" })),
    ...selected.map((one, at) => ({ ...one, nic: nicNameOf(one, at + 1) })),
  ];
  return asked.map(({ nic, ...selection }): NicReport => {
    const bare = { nic, network: `${selection.namespace}/${selection.name}`, managed: false, decisions: [], pools: [] };
    try {
      const { network } = resolveSelection(selection, settings, source);
      return { ...bare, managed: network.plugins.some(({ raw }) => isManaged(raw)) };
    } catch (problem) {
      return { ...bare, problem };
    }
  });
}

/** What an annotation selects; nothing if it cannot be read, which is a failure of its own. */
function readable(read: () => readonly NetworkSelection[]): readonly NetworkSelection[] {
  try {
    return read();
  } catch {
    return [];
  }
}

/** The default network and its namespace, as the agent writes them into the configuration that the runtime reads. */
function settingsOf({ installation: { namespace, clusterNetwork } }: PodScene): MultusSettings {
  const [network = "", within] = clusterNetwork.split("/").toReversed();
  const own = { name: unknownNetwork, type: "unknown" };
  return decodeSettings({
    multusNamespace: within ?? namespace,
    confDir,
    ...(network === "" ? { delegates: [own] } : { clusterNetwork: network }),
  });
}

function sourceOf({ nads }: PodScene): { readonly source: ConfigSource; readonly uncertain: () => boolean } {
  let asked = false;
  const unseen = () => {
    asked = true;
    return undefined;
  };
  const source: ConfigSource = {
    nad: (namespace, name) => {
      const nad = nads.get(`${namespace}/${name}`);
      return nad && { ...nad, metadata: { ...nad.metadata, namespace } };
    },
    directory: unseen,
    file: unseen,
  };
  return { source, uncertain: () => asked };
}
