import type { JsonObject } from "#base";
import { CniError, cniCodes, type PluginConfig } from "#cni";
import { isLinkName, objectAt, textAt } from "../decode.ts";
import { type BondOptions, parseBondOptions } from "./options.ts";

/** The interfaces that the node must have for the plugins after `ifacer`. */
export interface Wanted {
  readonly interfaces: readonly string[];
  /** 802.1Q tag; undefined: none. */
  readonly vlanId: number | undefined;
  /** Undefined: no bond. */
  readonly bond: WantedBond | undefined;
}

/** The bond of the interfaces. It is created if the node has none of this name. */
export interface WantedBond {
  readonly name: string;
  /** 0 to 6. Checked only when a bond has to be made. */
  readonly mode: unknown;
  readonly options: BondOptions;
}

/** The configuration of `ifacer`. It is decoded when it is needed, so that DEL works with any. */
export interface IfacerConfig {
  readonly config: PluginConfig;
}

const defaultBondName = "sp_bond0";

/** Throws CniError 7 with field, value and what is allowed. */
export function wantedOf({ config: { raw } }: IfacerConfig): Wanted {
  return { interfaces: interfacesAt(raw), vlanId: vlanAt(raw), bond: bondAt(raw) };
}

function interfacesAt({ interfaces }: JsonObject): readonly string[] {
  if (!Array.isArray(interfaces) || interfaces.length === 0) {
    throw wrong("invalid config: interfaces have at least one interface", "interfaces", interfaces, "a list of names");
  }
  for (const name of interfaces) {
    if (typeof name !== "string" || name === "" || !isLinkName(name)) {
      throw wrong("failed to parse config", "interfaces", name, "names of 1 to 15 bytes without white space, / and :");
    }
  }
  const twice = interfaces.find((name, at) => interfaces.indexOf(name) !== at);
  if (twice !== undefined) throw wrong("failed to parse config", "interfaces", twice, "each name once");
  return interfaces;
}

function vlanAt({ vlanID }: JsonObject): number | undefined {
  if (vlanID === undefined || vlanID === null || vlanID === 0) return undefined;
  if (typeof vlanID === "number" && Number.isInteger(vlanID) && vlanID > 0 && vlanID <= 4094) return vlanID;
  const found = JSON.stringify(vlanID);
  throw wrong(
    `invalid vlan tag ${found}: vlan tag must be in range [0,4094]`,
    "vlanID",
    vlanID,
    "a whole number; 0 for none",
  );
}

function bondAt(raw: JsonObject): WantedBond | undefined {
  if (raw["bond"] === undefined || raw["bond"] === null) return undefined;
  const bond = objectAt(raw, "bond");
  const name = textAt(bond, "name", "bond.name") ?? defaultBondName;
  if (!isLinkName(name)) {
    throw wrong("failed to parse config", "bond.name", name, "a name of 1 to 15 bytes without white space, / and :");
  }
  const options = parseBondOptions(textAt(bond, "options", "bond.options") ?? "");
  return { name, mode: bond["mode"] ?? 0, options };
}

function wrong(message: string, field: string, value: unknown, allowed: string): CniError {
  return new CniError(cniCodes.invalidConfig, message, { details: { field, value, allowed } });
}
