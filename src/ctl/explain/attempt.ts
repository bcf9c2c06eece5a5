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
/** Stands for the node's own default network, if the cluster names none: only the node knows its plugins. */
const unknownNetwork = "the node's own network";

/** The outcome of an ADD of the Pod on one node, as far as it follows from the API server's objects. */
export interface Attempt {
  readonly node: string;
  readonly nics: readonly NicReport[];
  /** The error that the runtime would get; undefined: the ADD would succeed. */
  readonly failure?: unknown;
  /** Whether the outcome also depends on files of the node, which only its agent sees. */
  readonly uncertain: boolean;
}

/** The pools whose claims must be read before {@link attemptOn} this node. */
export function candidatePools(facts: Facts, node: string): readonly string[] {
  return attemptOn(facts, new Map(), node).nics.flatMap(({ decisions }) =>
    decisions.flatMap(({ outcome }) => (outcome.kind === "candidates" ? outcome.pools : [])),
  );
}

/** Decides as the agent does, by the same functions, as far as no answer of the node is needed. Never throws. */
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

/** The NICs of the Pod whose addresses come from IPPools, each with the pools that its network names. */
export function managedNics(scene: PodScene): {
  readonly nics: readonly { readonly nic: string; readonly network: SelectionInput["network"] }[];
  /** Why the Pod has no networks at all. */
  readonly failure?: unknown;
  /** Whether the networks also depend on files of the node, which only its agent sees. */
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

/** For a Pod whose networks cannot be planned: each network that it asks for, with its own problem if it has one. */
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

/** The networks that an annotation selects; none if it is malformed, which is reported elsewhere. */
function readable(read: () => readonly NetworkSelection[]): readonly NetworkSelection[] {
  try {
    return read();
  } catch {
    return [];
  }
}

/** The settings that the agent writes into the configuration for the runtime: the default network and its namespace. */
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
