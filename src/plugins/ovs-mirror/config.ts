import type { PluginConfig } from "#cni";
import type { MirrorRole } from "#ovsdb";
import { flagAt, invalid, objectsAt, textAt } from "../decode.ts";
import { decodeFields, type OvsFields } from "../ovs/config.ts";

/** A producer's traffic is copied by its mirrors; a consumer gets the copies. */
export type MirrorKind = "producer" | "consumer";

/** The configuration of a mirror plugin, decoded. */
export interface MirrorConfig {
  readonly config: PluginConfig;
  readonly fields: Pick<OvsFields, "bridge" | "socketFile">;
  readonly configurationPath: string | undefined;
  readonly mirrors: readonly { readonly name: string; readonly sides: MirrorRole["sides"] }[];
}

/**
 * Reads the configuration of a producer or a consumer. "ingress" is what arrives at the switch from the Pod.
 *
 * @throws CniError 7 with field, value and what is allowed
 */
export function decodeMirrorConfig(kind: MirrorKind, config: PluginConfig): MirrorConfig {
  const mirrors = objectsAt(config.raw, "mirrors").map((item, at) => {
    const path = `mirrors[${at}]`;
    const name = textAt(item, "name", `${path}.name`);
    if (name === undefined) throw invalid(`${path}.name`, item["name"], "the name of a mirror");
    const [ingress, egress] = [flagAt(item, "ingress", `${path}.ingress`), flagAt(item, "egress", `${path}.egress`)];
    if (kind === "consumer") return { name, sides: ["output"] as const };
    const sides = [...(ingress ? (["source"] as const) : []), ...(egress ? (["destination"] as const) : [])];
    if (sides.length > 0) return { name, sides };
    throw invalid(path, item, "a mirror producer must have either a ingress or an egress or both");
  });
  if (mirrors.length === 0) throw invalid("mirrors", config.raw["mirrors"], "at least one mirror with its name");
  const names = mirrors.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw invalid("mirrors", twice, "each name once");
  return {
    config,
    fields: decodeFields(config.raw),
    configurationPath: textAt(config.raw, "configuration_path"),
    mirrors,
  };
}
