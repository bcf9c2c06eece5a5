import { annotations as ours, programSelector } from "#api";
import { isJsonObject } from "#base";
import { controllerOf } from "#kube";
import { clusterNetworkKey, defaultNetworkAnnotation, networksAnnotation, parseNetworks } from "#multus";
import { nearest } from "../nearest.ts";
import type { Facts } from "./facts.ts";
import { annotationFix, type Fix, patchCommand, shellLine } from "./fix.ts";

/** A network that an annotation names: `namespace/name`, and the interface that it asks for. */
interface Reference {
  readonly key: string;
  readonly ifName: string | undefined;
}

/** The fixes for a network that cannot be attached, by the code of the failure, the likeliest first. */
export function networkFixes(facts: Facts, code: string, sentence: string): readonly Fix[] {
  switch (code) {
    case "NETWORK_NOT_FOUND":
    case "NETWORK_INVALID":
    case "CNI_INVALID_CONFIG":
    case "PLUGIN_NOT_FOUND":
    case "OVS_BRIDGE_UNKNOWN":
      return [
        ...controllerFix(facts, code, sentence),
        ...bridgeFix(facts, code, sentence),
        ...editFix(facts, sentence),
        ...otherNetwork(facts, code, sentence),
        ...pluginFix(facts, code, sentence),
      ];
    case "CNI_UNSUPPORTED_FIELD":
    case "IFACER_BOND_MODE":
    case "IFACER_BOND_REFUSED":
    case "IFACER_LINK_UNKNOWN":
    case "IFACER_NAME_TAKEN":
    case "IFACER_VLAN_TAKEN":
    case "PARENT_BUSY":
    case "PARENT_UNKNOWN":
    case "VLAN_TAKEN":
      return editFix(facts, sentence);
    case "NETWORK_ANNOTATION":
      return [readableNetworks(facts, sentence)];
    case "INTERFACE_TAKEN":
      return [unnamedInterfaces(facts)];
    case "DEFAULT_ROUTE_NIC":
      return sentence.includes("SpiderCoordinator's spec")
        ? [{ text: "correct the SpiderCoordinator", command: "kubectl edit spidercoordinators" }]
        : editFix(facts, sentence);
    case "COORDINATOR_NOT_SYNCED":
      return [coordinatorFix(sentence)].flatMap((fix) => fix ?? []);
    default:
      return [];
  }
}

/** If there is a SpiderMultusConfig for the missing network, no controller runs that would make the network. */
function controllerFix({ wantedNads, installation }: Facts, code: string, sentence: string): readonly Fix[] {
  const wanted = [...wantedNads].find((key) => isAbout(sentence, key));
  if (code !== "NETWORK_NOT_FOUND" || wanted === undefined) return [];
  const selector = ["-l", programSelector("controller")];
  return [
    {
      text: `there is a SpiderMultusConfig for ${wanted}, and no controller has made the network: start it anew`,
      command: shellLine(["kubectl", "rollout", "restart", "deployment", "-n", installation.namespace, ...selector]),
    },
  ];
}

function bridgeFix({ pod }: Facts, code: string, sentence: string): readonly Fix[] {
  const bridge = /bridge ([\w.-]{1,15}),/.exec(sentence)?.[1];
  if (code !== "OVS_BRIDGE_UNKNOWN" || bridge === undefined || pod.nodeName === undefined) return [];
  return [
    {
      text: `make bridge ${bridge} on the node, and add its uplink`,
      command: `ovs-vsctl add-br ${bridge}`,
      node: pod.nodeName,
    },
  ];
}

function pluginFix({ pod }: Facts, code: string, sentence: string): readonly Fix[] {
  const [, plugin, folder] = /failed to find plugin "([\w.-]+)" in path \[([\w./-]+)\]/.exec(sentence) ?? [];
  if (code !== "PLUGIN_NOT_FOUND" || plugin === undefined) return [];
  return [
    {
      text: `install the plugin ${plugin} in ${folder} of node ${pod.nodeName}; the chart brings the reference plugins with plugins.installCNI=true`,
    },
  ];
}

/** Opens the network's configuration in an editor: its SpiderMultusConfig, if one makes it. */
function editFix({ nads }: Facts, sentence: string): readonly Fix[] {
  const [key, nad] = [...nads].find(([one]) => isAbout(sentence, one)) ?? [];
  if (key === undefined) return [];
  const { kind, name } = (nad && controllerOf(nad)) ?? {};
  const [namespace = "", own = ""] = key.split("/");
  const [resource, object] =
    kind === "SpiderMultusConfig" ? ["spidermultusconfig", name ?? own] : ["network-attachment-definition", own];
  const command = shellLine(["kubectl", "edit", resource, object, "-n", namespace]);
  return [{ text: `correct the network ${key}: ${command}` }];
}

/** Replaces the network that the sentence is about by another one that can be used. */
function otherNetwork(facts: Facts, code: string, sentence: string): readonly Fix[] {
  const { annotations, namespace } = facts.pod;
  const { [defaultNetworkAnnotation]: byPod = "", [networksAnnotation]: networks = "" } = annotations;
  const selected = references(networks, namespace);
  const wrong = selected.find(({ key }) => isAbout(sentence, key));
  const isMisspelt = code === "NETWORK_NOT_FOUND";
  if (wrong !== undefined) {
    const [primary = clusterNetworkKey(facts.installation)] = references(byPod, facts.installation.namespace).map(
      ({ key }) => key,
    );
    // A misspelt name may mean the first network, which otherwise nobody wants to have twice.
    const others = new Set([...(isMisspelt ? [] : [primary]), ...selected.map(({ key }) => key)]);
    const key = replacement(facts, wrong.key, others, isMisspelt);
    if (key === undefined) return [];
    const value = selected.map((one) => formatReference(one === wrong ? { ...one, key } : one)).join(",");
    return [annotationFix(facts, `attach ${key} in the place of ${wrong.key}`, { [networksAnnotation]: value })];
  }
  const [first] = references(byPod, facts.installation.namespace);
  const key = first && replacement(facts, first.key, new Set(), isMisspelt);
  if (key === undefined) return [];
  return [annotationFix(facts, `use ${key} as default network`, { [defaultNetworkAnnotation]: key })];
}

/** Whether the sentence of an error is about this network: sentences name it in three ways. */
function isAbout(sentence: string, key: string): boolean {
  const [namespace, name] = key.split("/");
  return (
    sentence.includes(`(${name}) in namespace (${namespace})`) ||
    sentence.includes(`NetworkAttachmentDefinition ${key}`) ||
    sentence.includes(`"${key}"`)
  );
}

/**
 * A usable network in the place of `wrong`. For a misspelt name the one with the nearest name, in the same namespace if there is
 * any; otherwise the cluster's default network or the only one that there is. Among several nobody knows which would do.
 */
function replacement(
  facts: Facts,
  wrong: string,
  except: ReadonlySet<string>,
  isMisspelt: boolean,
): string | undefined {
  const keys = [...facts.nads]
    .filter(([key, { spec }]) => key !== wrong && !except.has(key) && isUsable(spec?.config))
    .map(([key]) => key);
  const usual = clusterNetworkKey(facts.installation);
  if (!isMisspelt && keys.includes(usual)) return usual;
  if (!isMisspelt) return keys.length === 1 ? keys[0] : undefined;
  const within = keys.filter((key) => key.split("/")[0] === wrong.split("/")[0]);
  return nearest(wrong, within.length > 0 ? within : keys);
}

/** Whether a configuration is JSON and takes its addresses from IPPools. */
function isUsable(config = ""): boolean {
  try {
    const value: unknown = JSON.parse(config);
    if (!isJsonObject(value)) return false;
    const plugins: readonly unknown[] = Array.isArray(value["plugins"]) ? value["plugins"] : [value];
    return plugins.some(
      (plugin) => isJsonObject(plugin) && isJsonObject(plugin["ipam"]) && plugin["ipam"]["type"] === "spiderpool",
    );
  } catch {
    return false;
  }
}

/** Reduces a malformed annotation to the names of existing networks in it; removes it if there are none. */
function readableNetworks(facts: Facts, sentence: string): Fix {
  if (sentence.includes(ours.defaultRouteNic)) {
    return annotationFix(facts, "leave the default route with the first network", {
      [ours.defaultRouteNic]: undefined,
    });
  }
  const annotation = sentence.includes(defaultNetworkAnnotation) ? defaultNetworkAnnotation : networksAnnotation;
  const { namespace } = facts.pod;
  const text = facts.pod.annotations[annotation] ?? "";
  const within = annotation === defaultNetworkAnnotation ? facts.installation.namespace : namespace;
  const names = (text.match(/[a-z0-9][-a-z0-9.]*(\/[a-z0-9][-a-z0-9.]*)?/g) ?? []).map((name) =>
    name.includes("/") ? name : `${within}/${name}`,
  );
  const known = [...new Set(names)].filter((name) => facts.nads.has(name));
  const value = annotation === defaultNetworkAnnotation ? known[0] : known.join(",");
  if (value === undefined || value === "")
    return annotationFix(facts, `take annotation ${annotation} away`, { [annotation]: undefined });
  return annotationFix(facts, `name in annotation ${annotation} only what can be read of it`, { [annotation]: value });
}

/** Removes the interface names from the annotation, so that each network gets the interface of its position. */
function unnamedInterfaces(facts: Facts): Fix {
  const { namespace, annotations } = facts.pod;
  const value = references(annotations[networksAnnotation] ?? "", namespace)
    .map(({ key }) => key)
    .join(",");
  return annotationFix(facts, "let the interfaces be named net1, net2, … by their places", {
    [networksAnnotation]: value,
  });
}

function coordinatorFix(sentence: string): Fix | undefined {
  const name = /coordinator ([\w.-]+),/.exec(sentence)?.[1];
  if (name === undefined) return undefined;
  const command = patchCommand(["spidercoordinator", name], { spec: { podCIDRType: "auto" } });
  return { text: "let the controller find out itself where the cluster's ranges are", command };
}

function references(text: string, namespace: string): readonly Reference[] {
  try {
    return parseNetworks(text, namespace).map((one) => ({
      key: `${one.namespace}/${one.name}`,
      ifName: one.interface,
    }));
  } catch {
    return [];
  }
}

function formatReference({ key, ifName }: Reference): string {
  return ifName === undefined ? key : `${key}@${ifName}`;
}
