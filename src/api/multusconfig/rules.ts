import { isDeepStrictEqual } from "node:util";
import { isJsonObject } from "#base";
import { annotations } from "../annotations.ts";
import { checkCoordinatorBlock, linkMtuMin } from "../coordinator/rules.ts";
import { ignoredKeysOfNetwork, tellIgnoredKeys } from "../network/ignored-keys.ts";
import type { NetworkAttachmentDefinition } from "../network/types.ts";
import { checkRules, type Rule } from "../rules/rule.ts";
import { checkValue, isSubdomain } from "../rules/selector.ts";
import { forbidden, invalid, notSupported, required, type Violation } from "../rules/violation.ts";
import type { Submitted } from "../submitted.ts";
import {
  type InjectionKey,
  injectionKeys,
  masterNetwork,
  resourceOf,
  tryParseJson,
  typedNetwork,
  typedProperties,
} from "./typed.ts";
import type { SpiderMultusConfig, SpiderMultusConfigSpec } from "./types.ts";

/** What the object is checked against. Rules that need an absent part do not run. */
export interface MultusConfigContext {
  /** The stored object, for an update. */
  readonly old?: SpiderMultusConfig | undefined;
  /** The existing NetworkAttachmentDefinition into which this object would be rendered. */
  readonly network?: NetworkAttachmentDefinition | undefined;
}

interface MultusConfigCase {
  readonly config: Submitted<SpiderMultusConfig>;
  readonly spec: SpiderMultusConfigSpec;
  readonly notes: Readonly<Record<string, string>>;
  readonly old: SpiderMultusConfig | undefined;
  readonly network: NetworkAttachmentDefinition | undefined;
}

const cniVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];
const vlanMax = 4094;
/** A network's name, CNI specification §1. */
const cniName = /^[A-Za-z0-9][-A-Za-z0-9_.]*$/;

/** CEL rules: the block of a type exists exactly if `cniType` names that type. */
const typedCel = Object.entries(typedProperties)
  .map(([cniType, property]) => `(self.cniType == '${cniType}') == has(self.${property})`)
  .join(" && ");

/** Every rule about a SpiderMultusConfig, except for its coordinator: see `coordinatorRules`. */
export const multusConfigRules: readonly Rule<MultusConfigCase>[] = [
  {
    id: "network-name-immutable",
    field: "metadata.annotations",
    message: `${annotations.networkName} may be removed, but neither changed nor added`,
    check: ({ notes, old }) => {
      const name = notes[annotations.networkName];
      if (old === undefined || name === undefined || old.metadata.annotations?.[annotations.networkName] === name) {
        return [];
      }
      return [forbidden(annotation(annotations.networkName), "is not changeable")];
    },
  },
  {
    id: "network-name-valid",
    field: "metadata.annotations",
    message: `${annotations.networkName} is the name of an object`,
    check: ({ notes }) => {
      const name = notes[annotations.networkName];
      return name === undefined || isSubdomain(name)
        ? []
        : [invalid(annotation(annotations.networkName), name, "must be a lowercase RFC 1123 subdomain")];
    },
  },
  {
    id: "network-not-taken",
    field: "metadata.name",
    message: "no other SpiderMultusConfig makes a NetworkAttachmentDefinition of this name",
    check: ({ config, network }) =>
      (network?.metadata.ownerReferences ?? [])
        .filter(({ kind, name }) => kind === "SpiderMultusConfig" && name !== config.metadata.name)
        .map(({ name }) =>
          invalid(
            "metadata.name",
            config.metadata.name,
            `NetworkAttachmentDefinition ${network?.metadata.namespace}/${network?.metadata.name} already exists and is managed by SpiderMultusConfig ${name}`,
          ),
        ),
  },
  {
    id: "cni-version",
    field: "metadata.annotations",
    message: `${annotations.cniVersion} is a version of CNI that we write`,
    check: ({ notes }) => {
      const version = notes[annotations.cniVersion];
      return version === undefined || cniVersions.includes(version)
        ? []
        : [notSupported(annotation(annotations.cniVersion), version, cniVersions)];
    },
  },
  {
    id: "cni-config-name",
    field: "metadata.annotations",
    message: `${annotations.cniConfigName} is a name that CNI allows`,
    check: ({ notes }) => {
      const name = notes[annotations.cniConfigName];
      return name === undefined || cniName.test(name)
        ? []
        : [
            invalid(
              annotation(annotations.cniConfigName),
              name,
              "must begin with a letter or digit, followed by letters, digits, '_', '.' and '-'",
            ),
          ];
    },
  },
  {
    id: "type-described",
    field: "spec.cniType",
    message: "the object that cniType names is there, and no other",
    check: ({ spec }) => {
      const { cniType = "custom" } = spec;
      const own = cniType === "custom" ? "customCNI" : typedProperties[cniType];
      const missing =
        own === "customCNI" || spec[own] !== undefined ? [] : [required(`spec.${own}`, `cniType is ${cniType}`)];
      const foreign = Object.values(typedProperties).filter((name) => name !== own && spec[name] !== undefined);
      return [
        ...missing,
        ...foreign.map((name) => forbidden("spec.cniType", `spec.${name} is set, but cniType is ${cniType}`)),
      ];
    },
    cel: {
      rule: typedCel,
      messageExpression: "'cniType is ' + self.cniType + ': that object must be set, and no other'",
    },
  },
  {
    id: "vlan-range",
    field: "spec.*.vlanID",
    message: `a VLAN ID is 0 to ${vlanMax}`,
    check: ({ spec }) => {
      const vlans = { ...pathOf(spec, "vlanID"), ...(spec.ovs && { "spec.ovs.vlan": spec.ovs.vlan }) };
      return Object.entries(vlans).flatMap(([field, vlan]) => checkVlan(field, vlan));
    },
  },
  {
    id: "mtu-range",
    field: "spec.*.mtu",
    message: "mtu is 0, which leaves it, or one that a link can have: 68 or more",
    check: ({ spec }) =>
      Object.entries(pathOf(spec, "mtu")).flatMap(([field, mtu = 0]) => {
        if (mtu === 0 || mtu >= linkMtuMin) return [];
        const need = mtu < 0 ? "greater than or equal to 0" : `0 or at least ${linkMtuMin}, the smallest MTU of a link`;
        return [invalid(field, mtu, `must be ${need}`)];
      }),
  },
  {
    id: "masters",
    field: "spec.*.master",
    message: "master names at least one interface; two or more need a bond with a name",
    check: ({ spec }) => {
      const [at, network] = masterNetwork(spec) ?? [];
      if (network === undefined) {
        return spec.cniType === "ipoib" && spec.ipoib?.master === ""
          ? [required("spec.ipoib.master", "name an interface")]
          : [];
      }
      const { master, bond } = network;
      if (master.length === 0) return [required(`${at}.master`, "at least one interface")];
      const empty = master.flatMap((name, index) =>
        name === "" ? [required(`${at}.master[${index}]`, "name an interface")] : [],
      );
      const unnamed = bond === undefined ? master.length > 1 : bond.name === "";
      return unnamed ? [...empty, required(`${at}.bond.name`, "two or more masters are joined in a bond")] : empty;
    },
    cel: {
      rule: "[has(self.macvlan) && size(self.macvlan.master) > 1 && !has(self.macvlan.bond), has(self.ipvlan) && size(self.ipvlan.master) > 1 && !has(self.ipvlan.bond), has(self.vlan) && size(self.vlan.master) > 1 && !has(self.vlan.bond)].all(missing, !missing)",
      message: "two or more masters need a bond",
    },
  },
  {
    id: "vlan-mode",
    field: "spec.vlan.vlanID",
    message: "vlanMode manual needs vlanID, auto forbids it",
    check: ({ spec: { vlan } }) => {
      if (vlan === undefined) return [];
      const { vlanMode = "manual", vlanID } = vlan;
      if (vlanMode === "auto" && vlanID !== undefined) return [forbidden("spec.vlan.vlanID", "vlanMode is auto")];
      return vlanMode === "manual" && vlanID === undefined ? [required("spec.vlan.vlanID", "vlanMode is manual")] : [];
    },
    cel: {
      rule: "!has(self.vlan) || (self.vlan.vlanMode == 'manual') == has(self.vlan.vlanID)",
      message: "vlanMode manual needs vlanID, auto forbids it",
      fieldPath: ".vlan",
    },
  },
  {
    id: "sriov-rates",
    field: "spec.sriov.minTxRateMbps",
    message: "minTxRateMbps is not above maxTxRateMbps",
    check: ({ spec: { sriov } }) => {
      const { minTxRateMbps = 0, maxTxRateMbps = 0 } = sriov ?? {};
      return minTxRateMbps <= maxTxRateMbps
        ? []
        : [invalid("spec.sriov.minTxRateMbps", minTxRateMbps, `must not be above maxTxRateMbps ${maxTxRateMbps}`)];
    },
  },
  {
    id: "resource-name",
    field: "spec.*.resourceName",
    message: "sriov and ib-sriov name the resource of their device plugin",
    check: ({ spec: { cniType, sriov, ibsriov } }) => {
      const wrong: Violation[] = [];
      if (cniType === "sriov" && sriov && !sriov.resourceName)
        wrong.push(required("spec.sriov.resourceName", "name a resource"));
      if (cniType === "ib-sriov" && ibsriov && !ibsriov.resourceName) {
        wrong.push(required("spec.ibsriov.resourceName", "name a resource"));
      }
      return wrong;
    },
  },
  {
    id: "ovs-bridge",
    field: "spec.ovs.bridge",
    message: "ovs names a bridge",
    check: ({ spec: { ovs } }) => (ovs?.bridge === "" ? [required("spec.ovs.bridge", "name a bridge")] : []),
  },
  {
    id: "ovs-trunk",
    field: "spec.ovs.trunk[*]",
    message: "an element of trunk is a VLAN id, a range minID to maxID, or both",
    check: ({ spec: { ovs } }) =>
      (ovs?.trunk ?? []).flatMap(({ id, minID, maxID }, index) => {
        const field = `spec.ovs.trunk[${index}]`;
        const wrong = [
          ...checkVlan(`${field}.id`, id),
          ...checkVlan(`${field}.minID`, minID),
          ...checkVlan(`${field}.maxID`, maxID),
        ];
        if (maxID !== undefined && minID === undefined) wrong.push(required(`${field}.minID`, "maxID is set"));
        if (minID !== undefined && maxID === undefined) wrong.push(required(`${field}.maxID`, "minID is set"));
        if (minID !== undefined && maxID !== undefined && maxID < minID) {
          wrong.push(invalid(`${field}.maxID`, maxID, `must not be below minID ${minID}`));
        }
        return wrong;
      }),
    cel: {
      rule: "!has(self.ovs) || !has(self.ovs.trunk) || self.ovs.trunk.all(t, has(t.minID) == has(t.maxID) && (!has(t.minID) || t.minID <= t.maxID))",
      message: "a range of trunk has minID and maxID, maxID not below minID",
      fieldPath: ".ovs",
    },
  },
  {
    id: "match-master-subnet",
    field: "spec.*.ippools.matchMasterSubnet",
    message: "matchMasterSubnet is for sriov only",
    check: ({ spec }) => {
      const [at, network] = masterNetwork(spec) ?? [];
      return network?.ippools?.matchMasterSubnet === true
        ? [forbidden(`${at}.ippools.matchMasterSubnet`, "only sriov networks can match the subnet of their master")]
        : [];
    },
  },
  {
    id: "resource-injection",
    field: "metadata.annotations",
    message: "networks that are injected into Pods name pools and, for RDMA, a resource",
    check: ({ notes, spec }) =>
      injectionKeys.flatMap((key) => {
        const value = notes[key];
        if (value === undefined) return [];
        // Pods choose networks by this annotation. It is also copied to a label, for users.
        const nameless = value === "" ? [required(annotation(key), "Pods choose networks by this value")] : [];
        return [...nameless, ...checkValue(annotation(key), value), ...checkInjection(key, spec)];
      }),
  },
  {
    id: "custom-json",
    field: "spec.customCNI",
    message: "customCNI is empty or JSON",
    check: ({ spec: { cniType = "custom", customCNI = "" } }) =>
      cniType !== "custom" || customCNI === "" || tryParseJson(customCNI) !== undefined
        ? []
        : [invalid("spec.customCNI", customCNI, "must be valid JSON")],
  },
  {
    id: "chain-json",
    field: "spec.chainCNIJsonData[*]",
    message: "each element is the JSON object of a plugin, with its type",
    check: ({ spec: { chainCNIJsonData = [] } }) =>
      chainCNIJsonData.flatMap((text, index) =>
        isPlugin(tryParseJson(text))
          ? []
          : [invalid(`spec.chainCNIJsonData[${index}]`, text, "must be a JSON object with a non-empty 'type'")],
      ),
  },
];

/** Returns why the object may not be created or replace `old`. Never refuses an update that leaves spec and annotations alone. */
export function validateMultusConfig(
  config: Submitted<SpiderMultusConfig>,
  { old, network }: MultusConfigContext = {},
): readonly Violation[] {
  const { metadata, spec } = config;
  if (metadata.deletionTimestamp !== undefined) return [];
  if (old !== undefined && isDeepStrictEqual([spec, metadata.annotations], [old.spec, old.metadata.annotations])) {
    return [];
  }
  return [
    ...checkRules(multusConfigRules, { config, spec, notes: metadata.annotations ?? {}, old, network }),
    ...(spec.coordinator === undefined ? [] : checkCoordinatorBlock("spec.coordinator", spec.coordinator)),
  ];
}

/** Warnings of admission about an object that is valid but probably not what its user meant. */
export function warnOfMultusConfig({ spec }: Submitted<SpiderMultusConfig>): readonly string[] {
  const { cniType = "custom", customCNI = "", chainCNIJsonData = [] } = spec;
  const warnings: string[] = [];
  if (cniType === "custom") {
    const text = tryParseJson(customCNI);
    const ignored = ignoredKeysOfNetwork(customCNI);
    if (ignored.length > 0) warnings.push(`spec.customCNI: ${tellIgnoredKeys(ignored)}`);
    if (text !== undefined && !isNetwork(text)) {
      warnings.push("spec.customCNI: no plugin can be started from it: it has neither 'type' nor 'plugins'");
    }
    if (chainCNIJsonData.length > 0) {
      warnings.push("spec.chainCNIJsonData: has no effect with cniType custom; write the plugins into customCNI");
    }
    return warnings;
  }
  if (customCNI !== "") warnings.push(`spec.customCNI: has no effect with cniType ${cniType}`);
  if (cniType === "ovs" && spec.ovs?.deviceID) {
    warnings.push(
      "spec.ovs.deviceID: the agent's ovs plugin refuses virtual functions; only ovs-cni under a Multus of its own takes them",
    );
  }
  if (cniType === "vlan" && spec.vlan?.vlanMode === "auto") {
    warnings.push("spec.vlan.vlanMode: the vlan plugin asks no provider and refuses auto");
  }
  warnings.push(...warnOfCoordinator(spec));
  if (spec.disableIPAM !== true) return warnings;
  if (cniType === "ipvlan") warnings.push("spec.disableIPAM: ipvlan interfaces cannot be made without an address");
  if (spec.enableCoordinator !== false && spec.coordinator?.mode !== "disabled") {
    warnings.push(
      "spec.disableIPAM: the coordinator fails on a NIC without an address; set enableCoordinator to false",
    );
  }
  return warnings;
}

function warnOfCoordinator({ coordinator, enableCoordinator }: SpiderMultusConfigSpec): readonly string[] {
  if (coordinator === undefined) return [];
  if (enableCoordinator === false) return ["spec.coordinator: has no effect while enableCoordinator is false"];
  return (["hostRuleTable", "podCIDRType"] as const)
    .filter((field) => coordinator[field] !== undefined)
    .map(
      (field) => `spec.coordinator.${field}: has no effect: it is one for the whole cluster, the SpiderCoordinator's`,
    );
}

/** Returns why the annotation `key` cannot inject the network into Pods: it has no resource, or no pools. Empty: it can. */
export function checkInjection(key: InjectionKey, spec: SpiderMultusConfigSpec): readonly Violation[] {
  const network = typedNetwork(spec);
  if (network === undefined || spec.cniType === "ovs") {
    return [forbidden(annotation(key), `networks of cniType ${spec.cniType ?? "custom"} have no resource`)];
  }
  const resource = resourceOf(spec);
  const wrong: Violation[] = [];
  if (key === annotations.rdmaResourceInject && resource === "") {
    wrong.push(required(annotation(key), "the network must name a resource"));
  }
  const { ipv4 = [], ipv6 = [] } = network.ippools ?? {};
  const needsPools = key === annotations.rdmaResourceInject || resource !== "";
  if (needsPools && ipv4.length + ipv6.length === 0) {
    wrong.push(required(annotation(key), "the network must name at least one IPv4 or IPv6 pool in ippools"));
  }
  return wrong;
}

/** The field's values in all blocks that have it, by path. */
function pathOf(spec: SpiderMultusConfigSpec, field: "vlanID" | "mtu"): Readonly<Record<string, number | undefined>> {
  const { macvlan, ipvlan, vlan, sriov } = spec;
  return Object.fromEntries(
    Object.entries({ macvlan, ipvlan, vlan, sriov }).map(([type, network]) => [
      `spec.${type}.${field}`,
      network?.[field],
    ]),
  );
}

function checkVlan(field: string, vlan: number | undefined): readonly Violation[] {
  return vlan === undefined || (Number.isInteger(vlan) && vlan >= 0 && vlan <= vlanMax)
    ? []
    : [invalid(field, vlan, `must be between 0 and ${vlanMax}, inclusive`)];
}

function annotation(key: string): string {
  return `metadata.annotations[${key}]`;
}

/** Whether the value is a CNI configuration: one plugin, or a list of plugins. */
function isNetwork(value: unknown): boolean {
  if (isPlugin(value)) return true;
  const plugins = isJsonObject(value) ? value["plugins"] : undefined;
  return Array.isArray(plugins) && plugins.length > 0 && plugins.every(isPlugin);
}

function isPlugin(value: unknown): boolean {
  return isJsonObject(value) && typeof value["type"] === "string" && value["type"] !== "";
}
