import { SpiderError } from "#base";
import type { BondValue, Link } from "#linux";
import type { Wanted, WantedBond } from "./config.ts";

/** The fields of a link that the plan reads. */
export type LinkState = Pick<Link, "index" | "name" | "kind" | "up" | "master" | "peerIndex" | "vlanId">;

/** The state of the node's links. */
export interface Observed {
  /** Every link that the configuration names, by name. */
  readonly links: ReadonlyMap<string, LinkState>;
  /** All links with an 802.1Q tag. Read only if one has to be made. */
  readonly vlans: () => readonly LinkState[];
  /** Names of the node's own interfaces. Read only for the error about one that is missing. */
  readonly existing: () => readonly string[];
}

/** One change of the node's links; a plan is a list of them, in order. */
export type Operation =
  | {
      readonly do: "make bond";
      readonly name: string;
      readonly mode: number;
      readonly options: Record<string, BondValue>;
    }
  | { readonly do: "enslave"; readonly bond: string; readonly name: string; readonly wasUp: boolean }
  | { readonly do: "activate"; readonly bond: string; readonly name: string }
  | { readonly do: "make VLAN"; readonly name: string; readonly parent: string; readonly id: number }
  | { readonly do: "up"; readonly name: string };

/** The names of all interfaces that the plan must observe. */
export function namesOf({ interfaces, vlanId, bond }: Wanted): readonly string[] {
  const onBond = interfaces.length > 1 && bond !== undefined;
  const base = onBond ? bond.name : interfaces[0];
  const options = onBond ? Object.values(bond.options.links) : [];
  const vlan = vlanId === undefined || (interfaces.length > 1 && !onBond) ? [] : [`${base}.${vlanId}`];
  return [...new Set([...interfaces, ...(onBond ? [bond.name] : []), ...options, ...vlan])];
}

/**
 * Plans what is missing of the wanted bond and VLAN interface. A single interface needs no bond. Several interfaces without a
 * bond need nothing, because the next plugin names the one that it uses. Pure.
 *
 * @throws SpiderError `IFACER_…` if it cannot be made, naming what is in the way
 */
export function planInterfaces({ interfaces, vlanId, bond }: Wanted, observed: Observed): readonly Operation[] {
  const [only] = interfaces;
  if (interfaces.length === 1 && only !== undefined) {
    return vlanId === undefined ? [] : planVlan(only, vlanId, observed);
  }
  if (bond === undefined) return [];
  const made = planBond(bond, interfaces, observed);
  return vlanId === undefined ? made : [...made, ...planVlan(bond.name, vlanId, observed, made.some(isMakingBond))];
}

function planBond(
  { name, mode, options }: WantedBond,
  interfaces: readonly string[],
  { links, existing }: Observed,
): Operation[] {
  const found = links.get(name);
  if (found !== undefined && found.kind !== "bond") {
    throw new SpiderError(
      "IFACER_NAME_TAKEN",
      `createBondDevice failure: a non-bond type interface named ${name} already exists on the host`,
      { details: { found: found.kind ?? "hardware", fix: "give the bond another name, or remove that interface" } },
    );
  }
  const operations: Operation[] = [];
  if (found === undefined) {
    operations.push({
      do: "make bond",
      name,
      mode: modeOf(mode),
      options: optionsAtOnce(options, { links, existing }),
    });
  }
  for (const slave of interfaces) {
    const link = links.get(slave);
    if (link === undefined)
      throw unknown(`failed to InterfaceByName ${slave}: the node has no such interface`, "`interfaces`", {
        bond: name,
        existing,
      });
    if (found !== undefined && link.master === found.index) continue;
    if (link.master !== undefined) {
      throw new SpiderError("IFACER_LINK_TAKEN", `${slave} already belongs to another bond or bridge`, {
        details: { bond: name, found: `interface #${link.master}`, fix: `ip link set ${slave} nomaster` },
      });
    }
    operations.push({ do: "enslave", bond: name, name: slave, wasUp: link.up });
  }
  if (found?.up !== true) operations.push({ do: "up", name });
  // The active member can be set only after the members were added.
  const { active_slave: active } = options.links;
  if (found === undefined && active !== undefined) operations.push({ do: "activate", bond: name, name: active });
  return operations;
}

/** The options that are set when the bond is made. `primary` is among them: the kernel accepts it before its member is added. */
function optionsAtOnce(
  { values, links: named }: WantedBond["options"],
  { links, existing }: Pick<Observed, "links" | "existing">,
) {
  for (const [option, name] of Object.entries(named)) {
    if (links.has(name)) continue;
    throw unknown(
      `failed to LinkByName bond ${option} ${name}: the node has no such interface`,
      `${option} in bond.options`,
      { existing },
    );
  }
  const primary = named.primary === undefined ? undefined : links.get(named.primary)?.index;
  return { ...values, ...(primary !== undefined && { primary }) };
}

function modeOf(mode: unknown): number {
  if (typeof mode === "number" && Number.isInteger(mode) && mode >= 0 && mode <= 6) return mode;
  throw new SpiderError("IFACER_BOND_MODE", `unknown bond mode: ${JSON.stringify(mode)}, available mode: [0,6]`);
}

/**
 * A node may have only one VLAN interface for each tag, so that a VLAN is one layer-2 network there. An existing interface
 * with the right name, tag and parent is used unchanged.
 */
function planVlan(
  parent: string,
  id: number,
  { links, vlans, existing }: Observed,
  isParentNew = false,
): readonly Operation[] {
  const name = `${parent}.${id}`;
  if (Buffer.byteLength(name) > nameBytesMax) {
    throw new SpiderError("IFACER_NAME_LONG", `the VLAN interface ${name} would have a name of over 15 bytes`, {
      details: { fix: "make the VLAN's interface yourself, under a shorter name, and name it as `master`" },
    });
  }
  const base = links.get(parent);
  if (base === undefined && !isParentNew) {
    throw unknown(`failed to LinkByName ${parent}: the node has no such interface`, "`interfaces`", {
      vlan: name,
      existing,
    });
  }
  const found = links.get(name);
  const operations: Operation[] = [];
  if (base !== undefined && !base.up && !isParentNew) operations.push({ do: "up", name: parent });
  if (found === undefined) {
    refuseSameTag(name, id, vlans());
    operations.push({ do: "make VLAN", name, parent, id });
  } else refuseMismatch(found, { id, parent, parentIndex: base?.index });
  if (found?.up !== true) operations.push({ do: "up", name });
  return operations;
}

const nameBytesMax = 15;

/** The error for an interface that the node does not have; `field` names it. */
function unknown(
  message: string,
  field: string,
  { existing, ...about }: Pick<Observed, "existing"> & Readonly<Record<string, unknown>>,
): SpiderError {
  const fix = `correct ${field} (\`master\` of a SpiderMultusConfig), or make the interface`;
  return new SpiderError("IFACER_LINK_UNKNOWN", message, { details: { ...about, existing: existing(), fix } });
}

function refuseSameTag(name: string, id: number, vlans: readonly LinkState[]): void {
  const other = vlans.find((one) => one.vlanId === id && one.name !== name);
  if (other === undefined) return;
  throw new SpiderError(
    "IFACER_VLAN_TAKEN",
    `cannot have multiple different vlan interfaces with the same vlanId ${id} on node at the same time`,
    { details: { found: other.name, wanted: name, fix: `name ${other.name} as \`master\`, or delete it` } },
  );
}

function refuseMismatch(
  found: LinkState,
  {
    id,
    parent,
    parentIndex,
  }: { readonly id: number; readonly parent: string; readonly parentIndex: number | undefined },
): void {
  const differences = [
    ...(found.kind === "vlan" ? [] : [`its kind is ${found.kind ?? "hardware"}, not vlan`]),
    ...(found.kind !== "vlan" || found.vlanId === id ? [] : [`its tag is ${found.vlanId}, not ${id}`]),
    ...(found.kind !== "vlan" || found.peerIndex === parentIndex ? [] : [`its parent is not ${parent}`]),
  ];
  if (differences.length === 0) return;
  throw new SpiderError("IFACER_NAME_TAKEN", `the interface ${found.name} of the node is another than the one wanted`, {
    details: { found: differences.join("; "), fix: `rename or delete ${found.name}` },
  });
}

function isMakingBond(operation: Operation): boolean {
  return operation.do === "make bond";
}
