import { SpiderError } from "#base";
import type { Family, Ip } from "#ip";
import type { Annotations } from "./annotation-json.ts";
import {
  annotationKeys,
  type PoolsByFamily,
  parseIppoolAnnotation,
  parseIppoolsAnnotation,
  parseNamespaceDefaults,
} from "./annotations.ts";
import { autoPoolKinds, autoPoolsOf, hasAutoPools, type OwnerFacts } from "./auto-pools.ts";
import { type FilterFacts, judge, type PodFacts, type Verdict } from "./checks.ts";
import { fixesOf, formatVerdict, listed } from "./format.ts";
import { compileGlob, isGlob } from "./glob.ts";
import type { PoolView } from "./pool.ts";
import type { Labels } from "./selector.ts";
import { parseSubnetAnnotations, subnetAnnotationKeys } from "./subnet-annotations.ts";

/** What a selection depends on. */
export interface SelectionInput {
  /** The NIC being added. */
  readonly nic: string;
  /**
   * Its position among the Pod's NICs: 0 for the default network, k for the k-th selected network. Annotations `ippools` without
   * names of NICs need it. If undefined, the name tells it: `eth0` is 0 and `net<k>` is k.
   */
  readonly slot: number | undefined;
  /** The enabled families. Pools of another family are ignored. */
  readonly families: readonly Family[];
  readonly pod: PodFacts;
  readonly namespace: { readonly name: string; readonly labels: Labels; readonly annotations: Annotations };
  readonly node: { readonly name: string; readonly labels: Labels };
  /** The Pod's top controller; undefined for a bare Pod. */
  readonly owner: OwnerFacts | undefined;
  readonly pools: ReadonlyMap<string, PoolView>;
  /** Pools that could not be decoded, with the sentence that says why. Naming one is refused with this sentence. */
  readonly brokenPools: ReadonlyMap<string, string>;
  /** The settings in the `ipam` block of the CNI configuration. */
  readonly network: { readonly pools: PoolsByFamily; readonly cleanGateway: boolean };
  /** The NIC's NetworkAttachmentDefinition as `namespace/name`; undefined if it has none. */
  readonly netAttachDef: string | undefined;
  readonly agentNamespace: string;
  /** With `match_master_subnet`, the addresses of the host interface under the NIC; otherwise undefined. */
  readonly masterAddresses: readonly Ip[] | undefined;
  readonly settings: {
    readonly enableSpiderSubnet: boolean;
    readonly enableAutoPoolForApplication: boolean;
    /** Whether Pods and Namespaces may name only pools that say which namespaces they are for. @default false */
    readonly enableStrictIPPoolScope?: boolean;
  };
}

/** The rules, by precedence. The first one that applies decides for both families. */
type SelectionRule = "subnet" | "ippools" | "ippool" | "namespace" | "network" | "default";

/**
 * The pools that may be used, in the order to try them, never none; or why there are none, with a stable error code
 * (docs/reference/errors.md) and what the user can do.
 */
type Outcome =
  | { readonly kind: "candidates"; readonly pools: readonly string[] }
  | { readonly kind: "refused"; readonly code: string; readonly message: string; readonly fix: string };

/** What was decided for one NIC and family, and why. It can be written as JSON. */
export interface Decision {
  readonly nic: string;
  /** Undefined if a refusal concerns the NIC as a whole. */
  readonly family: Family | undefined;
  readonly rule: SelectionRule;
  /** Whether the default route through the pool's gateway is left out. */
  readonly cleanGateway: boolean;
  /** The pools that the rule names, with patterns expanded, before they are checked. A kept address must be in one of them. */
  readonly named: readonly string[];
  /** The verdicts on the named pools, in their order. */
  readonly steps: readonly Verdict[];
  readonly outcome: Outcome;
}

/** The pools that a rule names. */
interface Named {
  readonly pools: PoolsByFamily;
  readonly cleanGateway: boolean;
}

/**
 * Decides which pools the NIC may use. Returns one decision for each family that the NIC gets an address of, or a single refusal.
 * If any decision is a refusal, the ADD must fail. It is no error if no pool of a family is named, as long as the other has one.
 */
export function decide(input: SelectionInput): readonly Decision[] {
  for (const [rule, level] of levels) {
    const whole = { nic: input.nic, family: undefined, rule, cleanGateway: false, named: [], steps: [] };
    try {
      const found = level(input);
      if (found === undefined) continue;
      const families = input.families.filter((family) => found.pools[family].length > 0);
      if (families.length > 0) return families.map((family) => decideFamily(input, rule, found, family));
      throw nothingNamed(input, rule);
    } catch (error) {
      return [{ ...whole, outcome: refusedBy(error) }];
    }
  }
  return [];
}

const levels: readonly (readonly [SelectionRule, (input: SelectionInput) => Named | undefined])[] = [
  ["subnet", bySubnet],
  ["ippools", byIppools],
  ["ippool", byIppool],
  ["namespace", ({ namespace, network }) => unlessEmpty(parseNamespaceDefaults(namespace.annotations), network)],
  ["network", ({ network }) => unlessEmpty(network.pools, network)],
  ["default", byDefault],
];

function bySubnet({ nic, families, pod, owner, settings, network, pools }: SelectionInput): Named | undefined {
  const { subnet, subnets } = subnetAnnotationKeys;
  const key = [subnets, subnet].find((name) => pod.annotations[name] !== undefined);
  if (key === undefined || !settings.enableSpiderSubnet) return undefined;
  if (!settings.enableAutoPoolForApplication) {
    throw refusal(
      "WRONG_INPUT",
      `it's invalid to use '${subnets}' or '${subnet}' annotation when Auto-Pool feature is disabled`,
      `remove the annotation '${key}', or set enableAutoPoolForApplication to true`,
    );
  }
  if (owner === undefined) {
    throw refusal(
      "WRONG_INPUT",
      `wrong input, annotation '${key}': SpiderSubnet feature doesn't support no-controller pod`,
      "create the Pod by a controller such as a Deployment, or name an IPPool",
    );
  }
  if (!hasAutoPools(owner)) {
    const kinds = autoPoolKinds.map((kind) => kind.replace(/^.* /, "")).join(", ");
    throw refusal(
      "WRONG_INPUT",
      `wrong input, annotation '${key}': IPPools are made for ${kinds} only, and the Pod is one of ${owner.kind} ${owner.namespace}/${owner.name}`,
      `name an IPPool in the Pod annotation '${annotationKeys.ippool}'`,
    );
  }
  const found = parseSubnetAnnotations(pod.annotations)?.nics.find((item) => item.nic === nic);
  if (found === undefined) {
    throw refusal(
      "NO_POOL",
      `no IPPool available, annotation '${key}' has no subnet for NIC ${nic}`,
      `list ${nic} in it`,
    );
  }
  const autoPools = autoPoolsOf(pools.values(), owner, found);
  const missing = families.filter((family) => found[family] !== undefined && autoPools[family].length === 0);
  if (missing.length > 0) {
    const subnetNames = missing.map((family) => found[family]).join(" and ");
    throw refusal(
      "AUTO_POOL_PENDING",
      `no IPPool available, the auto-created IPPool of ${owner.kind} ${owner.namespace}/${owner.name} for NIC ${nic} from SpiderSubnet ${subnetNames} is not there yet`,
      `the controller creates it; if it does not, see the Events of ${owner.kind} ${owner.namespace}/${owner.name} and of SpiderSubnet ${subnetNames}`,
    );
  }
  return { pools: autoPools, cleanGateway: network.cleanGateway };
}

function byIppools({ nic, slot, pod }: SelectionInput): Named | undefined {
  const items = parseIppoolsAnnotation(pod.annotations);
  if (items === undefined) return undefined;
  const named = items[0]?.nic !== undefined;
  const item = named ? items.find((candidate) => candidate.nic === nic) : items[slot ?? slotOfName(nic)];
  if (item !== undefined) return item;
  const nics = items.flatMap((one) => one.nic ?? []);
  throw refusal(
    "WRONG_INPUT",
    `wrong input, Pod annotation '${annotationKeys.ippools}': interface ${nic} must be specified`,
    `add an item for ${nic} to it, which has ${items.length} for ${named ? listed(nics, ", ") : "the first NICs"}`,
  );
}

function byIppool({ pod, network }: SelectionInput): Named | undefined {
  const pools = parseIppoolAnnotation(pod.annotations);
  return pools && { pools, cleanGateway: network.cleanGateway };
}

function byDefault({ pools, network, families }: SelectionInput): Named {
  const defaults = [...pools.values()].filter((pool) => pool.default).sort((a, b) => (a.name < b.name ? -1 : 1));
  const names = (family: Family) => defaults.filter((pool) => pool.family === family).map(({ name }) => name);
  const found = { 4: names(4), 6: names(6) };
  if (families.some((family) => found[family].length > 0)) return { pools: found, cleanGateway: network.cleanGateway };
  throw refusal(
    "NO_POOL",
    "no IPPool available, no pool selection rules of any type are specified",
    `name an IPPool in the Pod annotation '${annotationKeys.ippool}', or set spec.default of an IPPool to true`,
  );
}

function unlessEmpty(pools: PoolsByFamily, { cleanGateway }: SelectionInput["network"]): Named | undefined {
  return pools[4].length + pools[6].length > 0 ? { pools, cleanGateway } : undefined;
}

/** The position of a NIC with a default name (`eth0` is 0, `net2` is 2); −1 for any other name. */
function slotOfName(nic: string): number {
  if (nic === "eth0") return 0;
  const [, digits] = /^net([1-9][0-9]{0,3})$/.exec(nic) ?? [];
  return digits === undefined ? -1 : Number(digits);
}

function decideFamily(input: SelectionInput, rule: SelectionRule, found: Named, family: Family): Decision {
  const decision = { nic: input.nic, family, rule, cleanGateway: found.cleanGateway };
  let named: readonly string[] = found.pools[family];
  let pools: readonly PoolView[];
  try {
    named = expand(named, family, input.pools);
    pools = lookUp(named, input);
  } catch (error) {
    return { ...decision, named, steps: [], outcome: refusedBy(error) };
  }
  const isNamed = rule === "ippools" || rule === "ippool" || rule === "namespace";
  const facts: FilterFacts = { ...input, family, strict: isNamed && input.settings.enableStrictIPPoolScope === true };
  const steps = pools.map((pool) => judge(pool, facts));
  const accepted = pools.filter((_, at) => steps[at]?.accepted);
  if (accepted.length > 0) {
    return {
      ...decision,
      named,
      steps,
      outcome: { kind: "candidates", pools: inOrder(accepted).map(({ name }) => name) },
    };
  }
  const rejections = steps.filter((step) => !step.accepted);
  const why = listed(rejections.map(formatVerdict), "; ");
  const message = `no IPPool available, all IPv${family} IPPools [${listed(named, " ")}] of ${input.nic} filtered out: ${why}`;
  return {
    ...decision,
    named,
    steps,
    outcome: { kind: "refused", code: "NO_POOL", message, fix: fixesOf(rejections) },
  };
}

/** Replaces patterns by the names that they match, sorted. Refuses a pattern that matches nothing: it is probably wrong. */
function expand(names: readonly string[], family: Family, pools: ReadonlyMap<string, PoolView>): readonly string[] {
  return names.flatMap((name) => {
    if (!isGlob(name)) return [name];
    const matches = compileGlob(name);
    if (matches === undefined) {
      throw refusal("WRONG_INPUT", `wrong input, malformed IPPool pattern '${name}'`, "use *, ?, [abc], [a-c] or [^a]");
    }
    const found = [...pools.values()].filter((pool) => pool.family === family && matches(pool.name));
    if (found.length > 0) return found.map((pool) => pool.name).sort();
    const message = `no IPPool available, pattern '${name}' matches no IPv${family} IPPool`;
    throw refusal("NO_POOL", message, "correct the pattern, or create an IPPool with such a name");
  });
}

/** Throws SpiderError WRONG_INPUT if a NIC's list has one name twice. */
export function refuseRepeated(names: readonly string[], nic: string): void {
  const seen = new Set<string>();
  const repeated = names.find((name) => seen.size === seen.add(name).size);
  if (repeated === undefined) return;
  const message = `wrong input, duplicate IPPool ${repeated} specified for NIC ${nic}`;
  throw refusal("WRONG_INPUT", message, "list it once, by its name or by one pattern");
}

function lookUp(names: readonly string[], { nic, pools, brokenPools }: SelectionInput): readonly PoolView[] {
  refuseRepeated(names, nic);
  return names.map((name) => {
    const pool = pools.get(name);
    if (pool !== undefined) return pool;
    const broken = brokenPools.get(name);
    if (broken !== undefined) throw refusal("BROKEN_POOL", broken, "correct the IPPool");
    const message = `failed to get original IPPool ${name}: IPPool "${name}" not found`;
    throw refusal("POOL_NOT_FOUND", message, "correct the name, or create the IPPool");
  });
}

/** Pools for certain Pods, nodes, namespaces or networks come before pools for all. Otherwise the order stays. */
function inOrder(pools: readonly PoolView[]): readonly PoolView[] {
  return pools.toSorted((a, b) => {
    const [left, right] = [specialities(a), specialities(b)];
    const at = left.findIndex((has, index) => has !== right[index]);
    return at < 0 ? 0 : left[at] ? -1 : 1;
  });
}

function specialities(pool: PoolView): readonly boolean[] {
  return [
    pool.podAffinity !== undefined,
    pool.nodeName.length > 0,
    pool.nodeAffinity !== undefined,
    pool.namespaceName.length > 0,
    pool.namespaceAffinity !== undefined,
    pool.multusName.length > 0,
  ];
}

function nothingNamed({ nic, families }: SelectionInput, rule: SelectionRule): SpiderError {
  const enabled = families.map((family) => `IPv${family}`).join(" or ");
  // Unknown keys are ignored, so the likely mistake is a misspelled key: the right one is shown.
  const keys =
    rule === "ippool" || rule === "ippools" ? `, under ${families.map((one) => `"ipv${one}"`).join(" or ")}` : "";
  return refusal(
    "NO_POOL",
    `no IPPool available, ${ruleWords[rule]} names no IPPool for NIC ${nic} in an enabled family`,
    enabled === "" ? "name an IPPool there for a family, and enable one" : `name an IPPool there for ${enabled}${keys}`,
  );
}

/** Where each rule finds its pools, for sentences. */
const ruleWords: Readonly<Record<SelectionRule, string>> = {
  subnet: `Pod annotation '${subnetAnnotationKeys.subnets}' or '${subnetAnnotationKeys.subnet}'`,
  ippools: `Pod annotation '${annotationKeys.ippools}'`,
  ippool: `Pod annotation '${annotationKeys.ippool}'`,
  namespace: `Namespace annotation '${annotationKeys.defaultIpv4}' or '${annotationKeys.defaultIpv6}'`,
  network: "the CNI configuration's ipam.default_ipv4_ippool or default_ipv6_ippool",
  default: "the set of default IPPools",
};

function refusal(code: string, message: string, fix: string): SpiderError {
  return new SpiderError(code, message, { details: { fix } });
}

/** Makes an outcome of a refusal that this module or the annotation decoder threw. Any other error is a bug and thrown again. */
function refusedBy(error: unknown): Outcome {
  if (!(error instanceof SpiderError)) throw error;
  return { kind: "refused", code: error.code, message: error.message, fix: String(error.details["fix"]) };
}
